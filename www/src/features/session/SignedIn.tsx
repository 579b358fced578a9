import { useEffect, useState } from "react";
import { HearthClient } from "../../matrix/hearth-client.ts";
import type { Session } from "../../matrix/session.ts";
import { HOMESERVER } from "../../platform/server.ts";
import { Splash, Trouble } from "../../ui/Splash.tsx";
import { Home } from "../Home.tsx";
import { ClientContext, useTopic } from "./client-context.ts";

interface Props {
  session: Session;
  /** The server no longer knows the session's token. */
  onTokenLost: () => void;
}

/** Runs the client of a session for as long as it is shown. */
export function SignedIn({ session, onTokenLost }: Props) {
  const [client] = useState(() => new HearthClient(HOMESERVER, session, onTokenLost));

  useEffect(() => {
    const wake = (): void => {
      if (!document.hidden) client.wake();
    };
    void client.start();
    document.addEventListener("visibilitychange", wake);
    window.addEventListener("online", wake);
    return () => {
      document.removeEventListener("visibilitychange", wake);
      window.removeEventListener("online", wake);
      client.stop();
    };
  }, [client]);

  return (
    <ClientContext value={client}>
      <WhenReady />
    </ClientContext>
  );
}

function WhenReady() {
  const ready = useTopic("ready", (client) => client.isReady());
  const trouble = useTopic("ready", (client) => client.trouble());
  if (ready) return <Home />;
  if (trouble !== undefined) return <Trouble title="Your server did not start" detail={trouble} />;
  return <Splash text="Opening your rooms…" />;
}
