import { Alert, Anchor, Paper, Stack, Text, Title } from "@mantine/core";
import { IconAlertCircle, IconLock } from "@tabler/icons-react";
import { useState, useSyncExternalStore } from "react";
import type { Session } from "../../matrix/session.ts";
import { addressStore } from "../../platform/address.ts";
import { Logo } from "../../ui/Logo.tsx";
import { InviteSummary } from "../invite/InviteSummary.tsx";
import { SignInForm } from "./SignInForm.tsx";
import { SignUpForm } from "./SignUpForm.tsx";
import classes from "./Welcome.module.css";

interface Props {
  /** The user whose session ended, because the server knows no such account and password any more. */
  lost: string | undefined;
  onSession: (session: Session) => void;
}

/** The first thing a new user sees: one question. */
export function Welcome({ lost, onSession }: Props) {
  const route = useSyncExternalStore(addressStore.subscribe, addressStore.get);
  const [hasAccount, setHasAccount] = useState(false);
  const invite = route.place === "join" ? route.invite : undefined;
  return (
    <main className={classes["page"]}>
      <Paper className={classes["card"]} radius="lg" p={{ base: "lg", xs: 36 }}>
        <Stack gap="lg">
          <Stack gap={6} align="center">
            <Logo size={60} />
            <Title order={1} fz={28}>
              {invite ? "You’re invited" : "Welcome to Hearth"}
            </Title>
            {invite ? <InviteSummary invite={invite} /> : <Text c="dimmed" ta="center">Chat by your own fire. Your server lives in this browser.</Text>}
          </Stack>
          {lost !== undefined && (
            <Alert color="yellow" icon={<IconAlertCircle />}>
              The server in this browser no longer knows your account by its password. If you have changed the password, sign in with the new one. Otherwise its data was probably cleared, and you can begin again.
            </Alert>
          )}
          {hasAccount ? <SignInForm user={lost} onSession={onSession} /> : <SignUpForm onSession={onSession} />}
          {!hasAccount && (
            <Text size="xs" c="dimmed" className={classes["note"]}>
              <IconLock size={14} aria-hidden="true" /> No password, no account anywhere. Everything stays on this device.
            </Text>
          )}
          <Anchor component="button" type="button" size="xs" ta="center" onClick={() => setHasAccount(!hasAccount)}>
            {hasAccount ? "Make a new account" : "I have an account in this browser"}
          </Anchor>
        </Stack>
      </Paper>
    </main>
  );
}
