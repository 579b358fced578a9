import { useCallback, useEffect, useRef, useState } from "react";
import type { Invite } from "../../domain/invite-link.ts";
import { type JoinProgress, joinByInvite } from "../../domain/join.ts";
import { addRelays, addRoute } from "../../platform/server.ts";
import { useClient } from "../session/client-context.ts";

interface Joining {
  progress: JoinProgress;
  /** Ends the present pause. */
  tryNow: () => void;
  /** Begins again after a refusal. */
  restart: () => void;
}

/** Joins by invite for as long as the caller is shown and `wanted`. */
export function useJoin(invite: Invite, wanted: boolean): Joining {
  const client = useClient();
  const [progress, setProgress] = useState<JoinProgress>({ step: "connecting" });
  const [round, setRound] = useState(0);
  const wake = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (!wanted) return undefined;
    const stop = new AbortController();
    const pause = (ms: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        wake.current = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    const join = (roomId: string, via: readonly string[]): Promise<void> => client.join(roomId, via);
    const tell = (next: JoinProgress): void => {
      if (!stop.signal.aborted) setProgress(next);
    };
    void joinByInvite(invite, { addRelays, addRoute, join, pause }, tell, stop.signal);
    return () => {
      stop.abort();
      wake.current();
    };
  }, [client, invite, wanted, round]);

  const tryNow = useCallback(() => wake.current(), []);
  const restart = useCallback(() => setRound((n) => n + 1), []);
  return { progress, tryNow, restart };
}
