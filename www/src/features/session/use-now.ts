import { useSyncExternalStore } from "react";

const MINUTE_MS = 60_000;

/** The time to the minute, so that `Today` becomes `Yesterday` by itself. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, minute);
}

function minute(): number {
  return Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS;
}

function subscribe(listener: () => void): () => void {
  const timer = setInterval(listener, MINUTE_MS / 2);
  return () => clearInterval(timer);
}
