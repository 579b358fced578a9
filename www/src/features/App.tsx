import { Button } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useEffect, useState } from "react";
import { forgetSession, loadSession, type Session } from "../matrix/session.ts";
import { CannotRun, persistStorage, startWorker } from "../platform/worker.ts";
import { Splash, Trouble } from "../ui/Splash.tsx";
import { SignedIn } from "./session/SignedIn.tsx";
import { Welcome } from "./welcome/Welcome.tsx";

type Start = { step: "starting" } | { step: "running" } | { step: "failed"; title: string; detail: string };

/** Started once for the page, however often React mounts the app. */
const started = startWorker(offerReload);

/** From an empty window to a signed-in user. */
export function App() {
  const [start, setStart] = useState<Start>({ step: "starting" });
  const [session, setSession] = useState<Session | undefined>(loadSession);
  const [forgotten, setForgotten] = useState(false);

  useEffect(() => {
    started.then(
      () => {
        setStart({ step: "running" });
        void persistStorage();
      },
      (error: unknown) => setStart(failure(error)),
    );
  }, []);

  if (start.step === "starting") return <Splash text="Lighting the fire…" />;
  if (start.step === "failed") return <Trouble title={start.title} detail={start.detail} />;
  if (!session) return <Welcome forgotten={forgotten} onSignedUp={setSession} />;
  const loggedOut = (): void => {
    forgetSession();
    setForgotten(true);
    setSession(undefined);
  };
  return <SignedIn key={session.accessToken} session={session} onSession={setSession} onLoggedOut={loggedOut} />;
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
