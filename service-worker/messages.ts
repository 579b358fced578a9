/**
 * The messages between the app's pages and the service worker. `www/` imports this file; it imports nothing.
 *
 * What a page does:
 * 1. `navigator.serviceWorker.register("/sw.js")` (classic script, root scope), then wait until
 *    `navigator.serviceWorker.controller` is set: the first worker claims the pages that are open. From then on
 *    `fetch` of `/_matrix/**`, `/.well-known/matrix/**` and `/_hearth/**` is answered by the homeserver; a request
 *    that arrives while it starts waits.
 * 2. Every {@link TICK_MS}, `controller.postMessage({ type: "tick" })`: the browser stops a worker that hears
 *    nothing for 30 s. Always post to the *current* `navigator.serviceWorker.controller`.
 * 3. `{ type: "wake" }` when the page becomes visible or the device comes online: connections are retried at once.
 * 4. Listen for {@link ToPage} on `navigator.serviceWorker` (`message` event). Nothing has to be done on any of
 *    them: requests go on being answered by whichever worker is in charge.
 */

/** How often a page sends a tick, in milliseconds. */
export const TICK_MS = 15_000;

/** What a page says to the worker. */
export type ToWorker =
  /** The page is open. */
  | { type: "tick" }
  /** The page became visible, or the device came online. */
  | { type: "wake" }
  /** Make the homeserver panic. Ignored unless the worker was built with `HEARTH_TEST_HOOKS=1`. */
  | { type: "panic" };

/** What the worker says to every page. */
export type ToPage =
  /** Another version of the app took over; a page that was loaded before may offer to reload. */
  | { type: "updated"; version: string }
  /** The homeserver broke down and was started anew. `reason` is its message and stack. */
  | { type: "restarted"; reason: string };

/** What one worker says to another of the same origin. Pages ignore it. */
export type ToOtherWorker =
  /** A newer version is about to take over: hold no request back. */
  | { type: "yield" }
  /** A newer version took over: let go of the database. */
  | { type: "handover" };

/** The message in `data`, if it is one of the page's. */
export function toWorker(data: unknown): ToWorker | undefined {
  const type = typeOf(data);
  return type === "tick" || type === "wake" || type === "panic" ? { type } : undefined;
}

/** The message in `data`, if it is one of another worker's. */
export function toOtherWorker(data: unknown): ToOtherWorker | undefined {
  const type = typeOf(data);
  return type === "yield" || type === "handover" ? { type } : undefined;
}

function typeOf(data: unknown): unknown {
  return typeof data === "object" && data !== null && "type" in data ? data.type : undefined;
}
