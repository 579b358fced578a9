/**
 * A new version of the worker takes over only at a moment when the old one has nothing to do, and a page that syncs without
 * a pause gives it none. So the page holds its requests while a new version waits; none is lost, each is made a little later.
 */
const LONGEST_PAUSE_MS = 5_000;
const BETWEEN_PAUSES_MS = 2_000;

let pause: Promise<void> = Promise.resolve();

/** Resolves when requests may be made. */
export function noHandover(): Promise<void> {
  return pause;
}

/** Makes a pause for each new version of the worker; at once for one that waits already. */
export function watchHandovers(registration: ServiceWorkerRegistration): void {
  if (registration.waiting) void giveWay(registration);
  registration.addEventListener("updatefound", () => {
    const next = registration.installing;
    next?.addEventListener("statechange", () => {
      if (next.state === "installed" && navigator.serviceWorker.controller) void giveWay(registration);
    });
  });
}

async function giveWay(registration: ServiceWorkerRegistration): Promise<void> {
  do {
    pause = replaced();
    await pause;
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_PAUSES_MS));
  } while (registration.waiting);
}

function replaced(): Promise<void> {
  return new Promise((resolve) => {
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve(), { once: true });
    setTimeout(resolve, LONGEST_PAUSE_MS);
  });
}
