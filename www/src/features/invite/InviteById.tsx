import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { type InvitationFailure, invitationFailure, isUserId } from "../../domain/invitation.ts";
import { notifyDone } from "../../ui/notify.ts";
import { useClient } from "../session/client-context.ts";

/** Invites a person to a room that is not open to whoever has its link. */
export function InviteById({ roomId, onDone }: { roomId: string; onDone: () => void }) {
  const client = useClient();
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();
  const userId = text.trim();

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    if (!isUserId(userId)) {
      setError("This is no user id. They look like @name:server.");
      return;
    }
    setBusy(true);
    try {
      await client.invite(roomId, userId);
      onDone();
      notifyDone("The invitation was sent");
    } catch (reason) {
      setError(invitationFailure(reason as InvitationFailure));
      setBusy(false);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)}>
      <Stack>
        <Text size="sm" c="dimmed">
          This room is not public: a link alone lets nobody in. Invite people one by one.
        </Text>
        <TextInput
          label="User id"
          description="They find theirs in their settings, and among the members of any room they are in."
          placeholder="@name:server"
          data-autofocus
          autoComplete="off"
          value={text}
          error={error}
          onChange={(event) => {
            setText(event.currentTarget.value);
            setError(undefined);
          }}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={!userId}>
            Invite
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
