/** What the worker's code finds in a service worker, faked. Import it before that code. */

/** Locks of one name: a theft rejects the request of whoever held it. */
class Locks {
  #lose: ((error: Error) => void) | undefined;

  request(_name: string, { steal = false }: { steal?: boolean }, hold: () => Promise<void>): Promise<void> {
    if (steal) this.#lose?.(new Error("stolen"));
    return Promise.race([hold(), new Promise<never>((_, reject) => (this.#lose = reject))]);
  }

  steal(): void {
    void this.request("hearth", { steal: true }, () => new Promise<void>(() => {}));
  }
}

export const locks = new Locks();
export const registration: { installing: object | null; waiting: object | null } = { installing: null, waiting: null };
/** The worker's listeners, by the name of the event. */
export const listeners = new Map<string, (event: { waitUntil: (work: Promise<unknown>) => void }) => void>();
/** What was said to other workers. */
export const said: unknown[] = [];
/** What the caches hold, all in one. */
export const kept = new Map<string, Response>();

/** Databases that open when the test says so. */
export class Database {
  isOpen = true;

  close(): void {
    this.isOpen = false;
  }
}

/** Requests for databases. Each is told that it succeeded by `succeed`. */
export class Opening extends EventTarget {
  readonly result = new Database();

  succeed(): void {
    this.dispatchEvent(new Event("success"));
  }
}

class Channel extends EventTarget {
  postMessage(message: unknown): void {
    said.push(message);
  }
}

const cache = {
  match: (path: string) => Promise.resolve(kept.get(path)?.clone()),
  put: (path: string, response: Response) => Promise.resolve(void kept.set(path, response)),
};

Object.assign(globalThis, {
  HEARTH_BUILD: { version: "1", wasm: "https://hearth.example/hearth-1.wasm", files: ["/index.html"] },
  BroadcastChannel: Channel,
  WebSocket: EventTarget,
  caches: { ...cache, open: () => Promise.resolve(cache) },
  fetch: () => Promise.resolve(new Response()),
  indexedDB: { open: () => new Opening() },
  self: {
    location: { origin: "https://hearth.example" },
    registration,
    addEventListener: listeners.set.bind(listeners),
    skipWaiting: () => Promise.resolve(),
  },
});
Object.defineProperty(globalThis, "navigator", { value: { locks } });
