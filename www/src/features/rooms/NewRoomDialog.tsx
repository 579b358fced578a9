import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { goTo } from "../../platform/address.ts";
import { useClient } from "../session/client-context.ts";

/** Asks for a name, makes the room and opens it. */
export function NewRoomDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="New room">
      <NewRoomForm onDone={onClose} />
    </Modal>
  );
}

function NewRoomForm({ onDone }: { onDone: () => void }) {
  const client = useClient();
  const [name, setName] = useState("");
  const [topic, setTopic] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!name.trim() || busy) return;
    setBusy(true);
    try {
      const roomId = await client.createRoom(name.trim(), topic.trim());
      onDone();
      goTo({ place: "room", roomId });
    } catch (reason) {
      setError(reason instanceof Error ? reason.message : String(reason));
      setBusy(false);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)}>
      <Stack>
        <TextInput label="Room name" placeholder="Kitchen table" data-autofocus maxLength={120} value={name} error={error} onChange={(event) => setName(event.currentTarget.value)} />
        <TextInput label="Topic" description="Optional" placeholder="What is it about?" maxLength={300} value={topic} onChange={(event) => setTopic(event.currentTarget.value)} />
        <Text size="xs" c="dimmed">
          Whoever has the room’s link may join. Nobody else can find it.
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={busy} disabled={!name.trim()}>
            Create room
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
