/** The service worker that is the homeserver: registered, awaited, kept awake. */
import { TICK_MS, type ToPage, type ToWorker } from "../../../service-worker/messages.ts";
import { watchHandovers } from "./handover.ts";

const UPDATE_CHECK_MS = 60 * 60_000;
const CLAIM_MS = 4_000;
const RELOADED = "hearth.reloaded-for-worker";

/** Why no homeserver can run here. */
export class CannotRun extends Error {}

/**
 * Resolves when the worker answers this page's requests. `onUpdate` is called each time that another version of the worker
 * takes over afterwards: this page is then older than its server.
 */
export async function startWorker(onUpdate: () => void): Promise<void> {
  if (import.meta.env.DEV) return;
  if (!window.isSecureContext) {
    throw new CannotRun("Hearth needs a secure address: https, or localhost. Browsers run no service worker elsewhere.");
  }
  if (!("serviceWorker" in navigator)) {
    throw new CannotRun("This browser gives no service worker to this page. A private window may be the reason.");
  }
  const registration = await navigator.serviceWorker.register("/sw.js", { updateViaCache: "none" });
  await Promise.race([navigator.serviceWorker.ready, failureOf(registration)]);
  await controlled();
  navigator.serviceWorker.addEventListener("message", (event: MessageEvent<ToPage>) => {
    if (event.data.type === "updated") onUpdate();
  });
  keepAwake();
  watchHandovers(registration);
  keepUpdated(registration);
}

/** Rejects if a first worker cannot be installed: `ready` would never come. */
function failureOf({ installing, active }: ServiceWorkerRegistration): Promise<never> {
  return new Promise((_, reject) => {
    if (active) return;
    installing?.addEventListener("statechange", () => {
      if (installing.state === "redundant") reject(new Error("Its files could not be loaded. Check your connection and try again."));
    });
  });
}

/** A hard reload leaves a page without its worker; only an ordinary reload gives it back. */
async function controlled(): Promise<void> {
  if (!navigator.serviceWorker.controller) {
    await new Promise<void>((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
      setTimeout(resolve, CLAIM_MS);
    });
  }
  if (navigator.serviceWorker.controller) {
    sessionStorage.removeItem(RELOADED);
    return;
  }
  if (sessionStorage.getItem(RELOADED)) throw new CannotRun("The service worker does not take over this page. Close every tab of Hearth and open it again.");
  sessionStorage.setItem(RELOADED, "1");
  location.reload();
  await new Promise(() => undefined);
}

/** A browser stops a worker that hears nothing for half a minute; the server's connections would go with it. */
function keepAwake(): void {
  setInterval(() => say({ type: "tick" }), TICK_MS);
  window.addEventListener("online", () => say({ type: "wake" }));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) say({ type: "wake" });
  });
}

function say(message: ToWorker): void {
  navigator.serviceWorker.controller?.postMessage(message);
}

/** The page comes from the worker, so the worker is asked for first. */
function keepUpdated(registration: ServiceWorkerRegistration): void {
  const update = (): void => void registration.update().catch(() => undefined);
  update();
  setInterval(update, UPDATE_CHECK_MS);
}

/** Asks the browser never to evict the server's database. True if it agreed. */
export async function persistStorage(): Promise<boolean> {
  try {
    return (await navigator.storage.persisted()) || (await navigator.storage.persist());
  } catch {
    return false;
  }
}
