import { Button, Group, Text } from "@mantine/core";
import { useState } from "react";
import { serverOf } from "../../domain/person.ts";
import type { RoomSummary } from "../../domain/room-list.ts";
import { goTo } from "../../platform/address.ts";
import { notifyFailure } from "../../ui/notify.ts";
import { PersonAvatar } from "../../ui/PersonAvatar.tsx";
import { useClient } from "../session/client-context.ts";
import classes from "./RoomList.module.css";

/** An invitation to answer. */
export function InvitationCard({ room }: { room: RoomSummary }) {
  const client = useClient();
  const [busy, setBusy] = useState<"accept" | "decline">();

  const answer = async (choice: "accept" | "decline"): Promise<void> => {
    setBusy(choice);
    try {
      if (choice === "decline") {
        await client.leave(room.roomId);
        return;
      }
      await client.join(room.roomId, room.inviterId ? [serverOf(room.inviterId)] : []);
      goTo({ place: "room", roomId: room.roomId });
    } catch (error) {
      notifyFailure(choice === "accept" ? `Could not join ${room.name}` : `Could not decline ${room.name}`, error);
    } finally {
      setBusy(undefined);
    }
  };

  return (
    <div className={classes["invitation"]} role="group" aria-label={`Invited to ${room.name}`}>
      <Group gap={11} wrap="nowrap">
        <PersonAvatar id={room.roomId} name={room.name} size={38} square />
        <div className={classes["words"]}>
          <Text fw={600} truncate>
            {room.name}
          </Text>
          <Text size="xs" c="dimmed" truncate>
            {room.inviter ? `from ${room.inviter}` : "You are invited"}
          </Text>
        </div>
      </Group>
      <Group gap="xs" mt="sm" grow>
        <Button size="xs" loading={busy === "accept"} disabled={busy !== undefined} onClick={() => void answer("accept")}>
          Accept
        </Button>
        <Button size="xs" variant="default" loading={busy === "decline"} disabled={busy !== undefined} onClick={() => void answer("decline")}>
          Decline
        </Button>
      </Group>
    </div>
  );
}
