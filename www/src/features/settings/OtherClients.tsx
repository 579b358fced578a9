import { Anchor, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useEffect, useState } from "react";
import { type Session, loadSession } from "../../matrix/session.ts";
import { otherClient } from "../../platform/other-client.ts";
import { HOMESERVER } from "../../platform/server.ts";
import { CopyAction } from "../../ui/CopyAction.tsx";

/** What any other Matrix client in this browser asks for to use the same account. */
export function OtherClients() {
  const [session, setSession] = useState<Session>();
  const [client, setClient] = useState<string>();
  const [isShown, setIsShown] = useState(false);
  useEffect(() => {
    void loadSession().then(setSession);
    void otherClient().then(setClient);
  }, []);
  if (!session) return null;
  return (
    <div>
      <Text size="sm" fw={500}>
        Other clients
      </Text>
      <Text size="sm" c="dimmed">
        {client ? <Anchor href={client} target="_blank" rel="noopener">Another Matrix client</Anchor> : "Any Matrix client served beside Hearth"} can use this account, in this browser.{" "}
        {!isShown && (
          <Anchor component="button" type="button" onClick={() => setIsShown(true)}>
            How to sign in
          </Anchor>
        )}
      </Text>
      {isShown && <Credentials session={session} />}
    </div>
  );
}

function Credentials({ session }: { session: Session }) {
  return (
    <Stack gap="xs" mt="xs">
      <TextInput label="Homeserver" readOnly value={HOMESERVER} rightSection={<CopyAction what="homeserver" value={HOMESERVER} />} />
      <TextInput label="User name" readOnly value={session.userId} rightSection={<CopyAction what="user name" value={session.userId} />} />
      <Group align="flex-end" gap="xs">
        <PasswordInput flex={1} label="Password" readOnly value={session.password} />
        <CopyAction what="password" value={session.password} />
      </Group>
    </Stack>
  );
}
