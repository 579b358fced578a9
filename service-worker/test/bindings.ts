/** A module whose homeservers answer as the test says. */

import type { Opening } from "./browser.ts";

/** What was started, the newest last. */
export const started: {
  config: { death: AbortSignal; onLost: (message: string, log: string) => void };
  indexedDB: { open: (name: string) => Opening };
}[] = [];
/** Requests that wait for an answer. */
export const asked: { request: Request; answer: (body: string) => void }[] = [];

export default function bindings(
  _webSocket: unknown,
  _webAssembly: unknown,
  indexedDB: (typeof started)[number]["indexedDB"],
) {
  const start = (config: (typeof started)[number]["config"]) => {
    started.push({ config, indexedDB });
    return Promise.resolve({
      fetch: (request: Request) =>
        new Promise((resolve) => asked.push({ request, answer: (body) => resolve(new Response(body)) })),
      addRelays: () => {},
      wake: () => {},
    });
  };
  return Object.assign(() => Promise.resolve(), { start });
}
