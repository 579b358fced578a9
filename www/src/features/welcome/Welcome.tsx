import { Alert, Button, Paper, Stack, Text, TextInput, Title } from "@mantine/core";
import { IconAlertCircle, IconLock } from "@tabler/icons-react";
import { type SubmitEvent, useState, useSyncExternalStore } from "react";
import { type Session, signUp } from "../../matrix/session.ts";
import { addressStore } from "../../platform/address.ts";
import { HOMESERVER } from "../../platform/server.ts";
import { Logo } from "../../ui/Logo.tsx";
import { InviteSummary } from "../invite/InviteSummary.tsx";
import classes from "./Welcome.module.css";

const MAX_NAME = 64;

/** The first thing a new user sees: one question. `forgotten` tells that an earlier account is gone. */
export function Welcome({ forgotten, onSignedUp }: { forgotten: boolean; onSignedUp: (session: Session) => void }) {
  const route = useSyncExternalStore(addressStore.subscribe, addressStore.get);
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const invite = route.place === "join" ? route.invite : undefined;

  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const displayName = name.trim();
    if (!displayName || busy) return;
    setBusy(true);
    setError(undefined);
    signUp(HOMESERVER, displayName).then(onSignedUp, (reason: unknown) => {
      setBusy(false);
      setError(reason instanceof Error ? reason.message : String(reason));
    });
  };

  return (
    <main className={classes["page"]}>
      <Paper className={classes["card"]} radius="lg" p={{ base: "lg", xs: 36 }}>
        <form onSubmit={submit}>
          <Stack gap="lg">
            <Stack gap={6} align="center">
              <Logo size={60} />
              <Title order={1} fz={28}>
                {invite ? "You’re invited" : "Welcome to Hearth"}
              </Title>
              {invite ? <InviteSummary invite={invite} /> : <Text c="dimmed" ta="center">Chat by your own fire. Your server lives in this browser.</Text>}
            </Stack>
            {forgotten && (
              <Alert color="yellow" icon={<IconAlertCircle />}>
                The server in this browser no longer knows your account. Its data was probably cleared. You can begin again.
              </Alert>
            )}
            <TextInput
              label="Display name"
              description="What others see. You can change it later."
              placeholder="Ada"
              size="md"
              autoFocus
              autoComplete="nickname"
              maxLength={MAX_NAME}
              value={name}
              disabled={busy}
              error={error}
              onChange={(event) => setName(event.currentTarget.value)}
            />
            <Button type="submit" size="md" fullWidth loading={busy} disabled={!name.trim()}>
              Continue
            </Button>
            <Text size="xs" c="dimmed" className={classes["note"]}>
              <IconLock size={14} aria-hidden="true" /> No password, no account anywhere. Everything stays on this device.
            </Text>
          </Stack>
        </form>
      </Paper>
    </main>
  );
}
