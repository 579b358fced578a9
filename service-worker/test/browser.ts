/** What the supervisor finds in a service worker, faked. Import it before the supervisor. */

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
export const registration: { waiting: object | null } = { waiting: null };

Object.assign(globalThis, {
  HEARTH_BUILD: { version: "1", wasm: "https://hearth.example/hearth-1.wasm", files: [] },
  BroadcastChannel: EventTarget,
  WebSocket: EventTarget,
  caches: { open: () => Promise.resolve({ match: () => Promise.resolve(undefined) }), match: () => Promise.resolve(undefined) },
  fetch: () => Promise.resolve(new Response()),
  self: { location: { origin: "https://hearth.example" }, registration },
});
Object.defineProperty(globalThis, "navigator", { value: { locks } });
