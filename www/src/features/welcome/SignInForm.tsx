import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { type Session, signIn } from "../../matrix/session.ts";
import { HOMESERVER } from "../../platform/server.ts";
import { useAttempt } from "./use-attempt.ts";

/** For an account that another client has made on this browser's server, or whose password it has changed. */
export function SignInForm({ user, onSession }: { user: string | undefined; onSession: (session: Session) => void }) {
  const { busy, error, begin } = useAttempt(onSession);
  const [name, setName] = useState(user ?? "");
  const [password, setPassword] = useState("");
  const account = name.trim();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (account && password && !busy) begin(signIn(HOMESERVER, account, password));
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="lg">
        <TextInput label="User name" size="md" autoFocus={!user} autoComplete="username" value={name} disabled={busy} onChange={(event) => setName(event.currentTarget.value)} />
        <PasswordInput label="Password" size="md" autoFocus={!!user} autoComplete="current-password" value={password} disabled={busy} error={error} onChange={(event) => setPassword(event.currentTarget.value)} />
        <Button type="submit" size="md" fullWidth loading={busy} disabled={!account || !password}>
          Sign in
        </Button>
      </Stack>
    </form>
  );
}
