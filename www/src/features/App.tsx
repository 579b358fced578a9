import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useEffect, useState } from "react";
import { type Session, loadSession, renewSession, watchSession } from "../matrix/session.ts";
import { goOn } from "../platform/other-client.ts";
import { HOMESERVER } from "../platform/server.ts";
import { CannotRun, persistStorage, startWorker } from "../platform/worker.ts";
import { Splash, Trouble } from "../ui/Splash.tsx";
import { SignedIn } from "./session/SignedIn.tsx";
import { Welcome } from "./welcome/Welcome.tsx";

type Start = { step: "starting" } | { step: "running" } | { step: "failed"; title: string; detail: string };

/** Who uses this browser's server. */
interface User {
  session: Session | undefined;
  /** The user of the last session that ended, because the server knew no such account and password any more. */
  lost?: string | undefined;
}

/** Started once for the page, however often React mounts the app. */
const started = startWorker(offerReload).then(goOn).then(loadSession);

/** From an empty window to a signed-in user. */
export function App() {
  const [start, setStart] = useState<Start>({ step: "starting" });
  const [{ session, lost }, setUser] = useState<User>({ session: undefined });

  useEffect(() => {
    started.then(
      (known) => {
        setUser(followedBy(known));
        setStart({ step: "running" });
        void persistStorage();
      },
      (error: unknown) => setStart(failure(error)),
    );
    return watchSession((next) => setUser(followedBy(next)));
  }, []);

  if (start.step === "starting") return <Splash text="Lighting the fire…" />;
  if (start.step === "failed") return <Trouble title={start.title} detail={start.detail} />;
  const follow = (next: Session | undefined): void => setUser(followedBy(next));
  if (!session) return <Welcome lost={lost} onSession={follow} />;
  const renew = (): void => void renewSession(HOMESERVER, session).then(follow);
  return <SignedIn key={session.accessToken} session={session} onTokenLost={renew} />;
}

/** From the user there was to the one of `session`. */
function followedBy(session: Session | undefined): (before: User) => User {
  return (before) => ({ session, lost: before.session?.userId ?? before.lost });
}

function failure(error: unknown): Start {
  if (error instanceof CannotRun) return { step: "failed", title: "Hearth cannot run here", detail: error.message };
  const detail = error instanceof Error ? error.message : String(error);
  return { step: "failed", title: "Your server did not start", detail };
}

/** The worker was replaced by a newer one: the page should follow, when it suits. */
function offerReload(): void {
  notifications.show({
    id: "update",
    title: "Hearth was updated",
    message: (
      <Button size="compact-sm" mt={6} onClick={() => location.reload()}>
        Reload
      </Button>
    ),
    autoClose: false,
  });
}
