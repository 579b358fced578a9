/** A module whose homeservers answer as the test says. */

/** What was started, the newest last. */
export const started: { config: { death: AbortSignal; onLost: (message: string, log: string) => void } }[] = [];
/** Requests that wait for an answer. */
export const asked: { request: Request; answer: (body: string) => void }[] = [];

export default function bindings() {
  const start = (config: (typeof started)[number]["config"]) => {
    started.push({ config });
    return Promise.resolve({
      fetch: (request: Request) =>
        new Promise((resolve) => asked.push({ request, answer: (body) => resolve(new Response(body)) })),
      addRelays: () => {},
      wake: () => {},
    });
  };
  return Object.assign(() => Promise.resolve(), { start });
}
