/** The server's status, asked for every few seconds while somebody looks. */
import type { ServerStatus } from "../domain/server-status.ts";
import { fetchStatus } from "./server.ts";

const INTERVAL_MS = 3_000;
const FIRST_INTERVAL_MS = 700;

export interface StatusSnapshot {
  /** The newest status; kept while the worker restarts. */
  status?: ServerStatus;
  /** Whether the last question was answered. */
  answered: boolean;
}

let snapshot: StatusSnapshot = { answered: true };
let timer: ReturnType<typeof setTimeout> | undefined;
let failures = 0;
const listeners = new Set<() => void>();

/** For `useSyncExternalStore`. */
export const statusStore = {
  get: (): StatusSnapshot => snapshot,
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener);
    if (listeners.size === 1) void poll();
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) clearTimeout(timer);
    };
  },
};

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && listeners.size > 0) void poll();
});

async function poll(): Promise<void> {
  clearTimeout(timer);
  if (!document.hidden) publish(await ask());
  clearTimeout(timer);
  const settled = snapshot.status?.relays.some((relay) => relay.connected) ?? false;
  if (listeners.size > 0) timer = setTimeout(() => void poll(), settled ? INTERVAL_MS : FIRST_INTERVAL_MS);
}

async function ask(): Promise<StatusSnapshot> {
  try {
    const status = await fetchStatus();
    failures = 0;
    return status ? { status, answered: true } : { answered: true };
  } catch {
    // One failure is a worker that restarts; it is worth no alarm.
    failures += 1;
    return failures > 2 ? { answered: false } : snapshot;
  }
}

function publish(next: StatusSnapshot): void {
  if (JSON.stringify(next) === JSON.stringify(snapshot)) return;
  snapshot = next;
  for (const listener of listeners) listener();
}
