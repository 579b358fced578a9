import { Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { type SubmitEvent, useState } from "react";
import { inviteFromUrl } from "../../domain/invite-link.ts";
import { goTo } from "../../platform/address.ts";

/** Takes a pasted link, for who got it on paper or in another app. */
export function FollowLinkDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Join with a link">
      <FollowLinkForm onDone={onClose} />
    </Modal>
  );
}

function FollowLinkForm({ onDone }: { onDone: () => void }) {
  const [link, setLink] = useState("");
  const invite = inviteFromUrl(link);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (!invite) return;
    onDone();
    goTo({ place: "join", invite });
  };
  return (
    <form onSubmit={submit}>
      <Stack>
        <TextInput label="Link" placeholder="https://…/#/join/…" data-autofocus value={link} error={link && !invite ? "This is no link to a room" : undefined} onChange={(event) => setLink(event.currentTarget.value)} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" disabled={!invite}>
            Go on
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
