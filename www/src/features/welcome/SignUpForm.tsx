import { Button, Stack, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { type Session, signUp } from "../../matrix/session.ts";
import { HOMESERVER } from "../../platform/server.ts";
import { useAttempt } from "./use-attempt.ts";

const MAX_NAME = 64;

/** One question, and there is an account. */
export function SignUpForm({ onSession }: { onSession: (session: Session) => void }) {
  const { busy, error, begin } = useAttempt(onSession);
  const [name, setName] = useState("");
  const displayName = name.trim();
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (displayName && !busy) begin(signUp(HOMESERVER, displayName));
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="lg">
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
        <Button type="submit" size="md" fullWidth loading={busy} disabled={!displayName}>
          Continue
        </Button>
      </Stack>
    </form>
  );
}
