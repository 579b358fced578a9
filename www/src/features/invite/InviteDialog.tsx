import { Alert, Button, Center, Modal, Stack, Text, TextInput } from "@mantine/core";
import { IconCheck, IconCopy, IconPlugConnectedX } from "@tabler/icons-react";
import { QRCodeSVG } from "qrcode.react";
import { useRef, useState, useSyncExternalStore } from "react";
import { inviteUrl } from "../../domain/invite-link.ts";
import { invitableRelays } from "../../domain/server-status.ts";
import type { RoomView } from "../../matrix/hearth-client.ts";
import { copyText } from "../../platform/clipboard.ts";
import { statusStore } from "../../platform/status-store.ts";
import { useTopic } from "../session/client-context.ts";
import { InviteById } from "./InviteById.tsx";
import classes from "./InviteDialog.module.css";

const MAX_RELAYS = 3;

/** The room's link, to copy or to scan. A room that it does not let anybody into asks whom to invite. */
export function InviteDialog({ room, opened, onClose }: { room: RoomView; opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title={`Invite to ${room.name}`}>
      {room.joinRule === "public" ? <InviteLink room={room} /> : <InviteById roomId={room.roomId} onDone={onClose} />}
    </Modal>
  );
}

function InviteLink({ room }: { room: RoomView }) {
  const { status } = useSyncExternalStore(statusStore.subscribe, statusStore.get);
  const relays = status ? invitableRelays(status).slice(0, MAX_RELAYS) : [];
  const via = useTopic(`via:${room.roomId}`, (client) => client.viaOf(room.roomId));
  const by = useTopic("me", (client) => client.myName());
  const link = inviteUrl(location.origin, { roomId: room.roomId, via, relays, name: room.name, by });
  return (
    <Stack>
      <Text size="sm" c="dimmed">
        Whoever opens this link can join and read along. Send it only to people you want here.
      </Text>
      {relays.length === 0 && (
        <Alert color="yellow" icon={<IconPlugConnectedX />}>
          No relay is known yet, so others could not find this room. The link is complete as soon as there is one.
        </Alert>
      )}
      <LinkField link={link} />
      <Center>
        <div className={classes["code"]}>
          <QRCodeSVG value={link} size={232} level="L" marginSize={0} fgColor="#2b2522" bgColor="#ffffff" title="QR code of the link" />
        </div>
      </Center>
    </Stack>
  );
}

function LinkField({ link }: { link: string }) {
  const [copied, setCopied] = useState<string>();
  const field = useRef<HTMLInputElement>(null);
  const copy = async (): Promise<void> => {
    field.current?.select();
    if (await copyText(link)) setCopied(link);
  };
  const done = copied === link;
  return (
    <Stack gap="xs">
      <TextInput ref={field} label="Invite link" readOnly value={link} onFocus={(event) => event.currentTarget.select()} />
      <Button data-autofocus leftSection={done ? <IconCheck size={18} /> : <IconCopy size={18} />} color={done ? "green" : "ember"} onClick={() => void copy()} aria-label="Copy link">
        {done ? "Copied" : "Copy link"}
      </Button>
    </Stack>
  );
}
