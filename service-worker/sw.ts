/** The service worker's listeners. What they do is elsewhere. */
import { dropOldFiles, file, page, precache } from "./assets.ts";
import { Supervisor } from "./boot.ts";
import { listenToOtherWorkers, tellOtherWorkers } from "./handover.ts";
import { type ToPage, toWorker } from "./messages.ts";
import { route } from "./route.ts";
import { Tokens } from "./tokens.ts";

/** How often a new version asks to take over, in milliseconds. */
const TAKE_OVER_MS = 100;

declare const self: ServiceWorkerGlobalScope;

/** Whether this worker is installed to replace another, and has not yet. A worker that is started later has. */
let isNext = false;

const tokens = new Tokens();
const supervisor = new Supervisor((reason) => tellPages({ type: "restarted", reason }));

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));

self.addEventListener("fetch", (event) => {
  switch (route(event.request, self.location.origin, HEARTH_BUILD.files)) {
    case "api":
      return event.respondWith(supervisor.answer(tokens.add(event.clientId, event.request)));
    case "page":
      return event.respondWith(page(event.request));
    case "file":
      return event.respondWith(file(event.request));
    case undefined:
  }
});

self.addEventListener("message", (event) => {
  const message = toWorker(event.data);
  if (message?.type === "tick") event.waitUntil(supervisor.tick());
  if (message?.type === "wake") event.waitUntil(supervisor.wake());
  if (HEARTH_TEST_HOOKS && message?.type === "panic") event.waitUntil(supervisor.trap());
});

listenToOtherWorkers((message) => {
  // Meant for whoever is in charge, which another new version replaces.
  if (isNext) return;
  if (message.type === "yield") supervisor.yield();
  if (message.type === "handover") void supervisor.retire();
});

async function install(): Promise<void> {
  isNext = true;
  await precache();
  void takeOver();
}

/**
 * Asks to replace the worker in charge until it is done. Chromium activates a new worker at a moment when the old one
 * has nothing to do, and looks for such a moment only when asked; a busy page may restart the old one before it.
 */
async function takeOver(): Promise<void> {
  while (isNext && !isReplaced()) {
    tellOtherWorkers({ type: "yield" });
    await self.skipWaiting();
    await new Promise((resolve) => setTimeout(resolve, TAKE_OVER_MS));
  }
}

/** Whether another version has overtaken this one. Firefox, which has no `self.serviceWorker`, shows it once that one is in charge. */
function isReplaced(): boolean {
  const { installing, waiting } = self.registration;
  return self.serviceWorker?.state === "redundant" || (!installing && !waiting);
}

async function activate(): Promise<void> {
  isNext = false;
  tellOtherWorkers({ type: "handover" });
  const replaced = await dropOldFiles();
  await self.clients.claim();
  if (replaced) await tellPages({ type: "updated", version: HEARTH_BUILD.version });
  // Requests wait for the end of this event, and for the start themselves: it need not wait here.
  void supervisor.tick();
}

async function tellPages(message: ToPage): Promise<void> {
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) client.postMessage(message);
}
