import { useEffect, useState } from "react";
import { HearthClient } from "../../matrix/hearth-client.ts";
import { type Session, signInAgain } from "../../matrix/session.ts";
import { HOMESERVER } from "../../platform/server.ts";
import { Splash } from "../../ui/Splash.tsx";
import { Home } from "../Home.tsx";
import { ClientContext, useTopic } from "./client-context.ts";

interface Props {
  session: Session;
  onSession: (session: Session) => void;
  onLoggedOut: () => void;
}

/** Runs the client of a session for as long as it is shown. */
export function SignedIn({ session, onSession, onLoggedOut }: Props) {
  const [client, setClient] = useState<HearthClient>();

  useEffect(() => {
    const renew = (): void => void signInAgain(HOMESERVER, session).then(onSession, onLoggedOut);
    const running = new HearthClient(HOMESERVER, session, renew);
    const wake = (): void => {
      if (!document.hidden) running.wake();
    };
    void running.start();
    setClient(running);
    document.addEventListener("visibilitychange", wake);
    window.addEventListener("online", wake);
    return () => {
      document.removeEventListener("visibilitychange", wake);
      window.removeEventListener("online", wake);
      running.stop();
    };
    // The callbacks only set state; a session begins once.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [session]);

  if (!client) return <Splash text="Opening your rooms…" />;
  return (
    <ClientContext value={client}>
      <WhenReady />
    </ClientContext>
  );
}

function WhenReady() {
  const ready = useTopic("ready", (client) => client.isReady());
  return ready ? <Home /> : <Splash text="Opening your rooms…" />;
}
