import { useState } from "react";
import type { Session } from "../../matrix/session.ts";

interface Attempt {
  /** Whether it is under way. It stays so once there is a session: another page follows. */
  busy: boolean;
  /** Why the last one failed. */
  error: string | undefined;
  begin: (session: Promise<Session>) => void;
}

/** What leads to a session, or says why not. */
export function useAttempt(onSession: (session: Session) => void): Attempt {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const begin = (session: Promise<Session>): void => {
    setBusy(true);
    setError(undefined);
    session.then(onSession, (reason: unknown) => {
      setBusy(false);
      setError(reason instanceof Error ? reason.message : String(reason));
    });
  };
  return { busy, error, begin };
}
