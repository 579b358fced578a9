/**
 * One homeserver owns the database: a lock that is held while this worker may run it, and what workers of different
 * versions say to each other.
 *
 * A new version that is installed says `yield`; the old one then holds back no long-poll, and answers those that come on
 * a beat, so that the browser finds it without work and activates the new one. That says `handover`; the old one lets go
 * of the lock, and the new one's homeserver starts. Requests that arrive in between wait in the new worker.
 */
import { type ToOtherWorker, toOtherWorker } from "./messages.ts";

const LOCK = "hearth";
/** How long another worker may take to let go, in milliseconds, before the lock is taken from it. */
const PATIENCE_MS = 10_000;

const channel = new BroadcastChannel("hearth");

/** Says something to the other workers. */
export function tellOtherWorkers(message: ToOtherWorker): void {
  channel.postMessage(message);
}

/** Hears what other workers say. */
export function listenToOtherWorkers(hear: (message: ToOtherWorker) => void): void {
  channel.addEventListener("message", (event) => {
    const message = toOtherWorker(event.data);
    if (message) hear(message);
  });
}

/** The right to run the homeserver. */
export class Ownership {
  #held: Promise<void> | undefined;
  #release: (() => void) | undefined;
  readonly #onLoss: () => void;

  /** `onLoss` is called if another worker takes the lock by force. */
  constructor(onLoss: () => void) {
    this.#onLoss = onLoss;
  }

  /** Resolves when this worker has it. It keeps it until `release`. */
  acquire(): Promise<void> {
    this.#held ??= this.#request({ signal: AbortSignal.timeout(PATIENCE_MS) }).catch(() =>
      this.#request({ steal: true }),
    );
    return this.#held;
  }

  /** Lets go. */
  release(): void {
    this.#release?.();
  }

  #request(options: LockOptions): Promise<void> {
    return new Promise((granted, failed) => {
      const hold = () =>
        new Promise<void>((release) => {
          this.#release = release;
          granted();
        });
      navigator.locks.request(LOCK, options, hold).catch((error: unknown) => {
        if (this.#release) this.#onLoss();
        failed(error instanceof Error ? error : new Error(String(error)));
      });
    });
  }
}
