import { ActionIcon, Button, Center, Drawer, Loader, Menu, Modal, Group, Text, Tooltip } from "@mantine/core";
import { useDisclosure, useMediaQuery } from "@mantine/hooks";
import { IconDotsVertical, IconDoorExit, IconUserPlus, IconUsers } from "@tabler/icons-react";
import { useEffect, useState } from "react";
import type { RoomView } from "../../matrix/hearth-client.ts";
import { goTo } from "../../platform/address.ts";
import { ErrorBoundary } from "../../ui/ErrorBoundary.tsx";
import { notifyFailure } from "../../ui/notify.ts";
import { PersonAvatar } from "../../ui/PersonAvatar.tsx";
import { Composer } from "../composer/Composer.tsx";
import { InviteDialog } from "../invite/InviteDialog.tsx";
import { MembersPanel } from "../members/MembersPanel.tsx";
import { PageHeader } from "../PageHeader.tsx";
import pageClasses from "../PageHeader.module.css";
import { useClient, useTopic } from "../session/client-context.ts";
import { Timeline } from "../timeline/Timeline.tsx";
import classes from "./RoomPage.module.css";

/** After this long without a word of a room, it is not one of ours. */
const UNKNOWN_MS = 8_000;

/** One room. */
export function RoomPage({ roomId }: { roomId: string }) {
  const room = useTopic(`room:${roomId}`, (client) => client.room(roomId));
  if (room?.membership !== "join") return <NotThere />;
  return <JoinedRoom room={room} />;
}

/** A room that was just made or joined comes with the next sync; another will never come. */
function NotThere() {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), UNKNOWN_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className={pageClasses["page"]}>
      <PageHeader />
      <Center flex={1}>{late ? <Text c="dimmed">You are not in this room.</Text> : <Loader type="dots" aria-label="Opening the room" />}</Center>
    </div>
  );
}

function JoinedRoom({ room }: { room: RoomView }) {
  const client = useClient();
  const wide = useMediaQuery("(min-width: 64em)", undefined, { getInitialValueInEffect: false });
  const [members, panel] = useDisclosure(false);
  const [inviting, invite] = useDisclosure(false);
  useEffect(() => void client.loadMembers(room.roomId).catch(() => undefined), [client, room.roomId]);
  const people = <MembersPanel roomId={room.roomId} onInvite={invite.open} onClose={panel.close} />;
  return (
    <div className={classes["split"]}>
      <section className={pageClasses["page"]} style={{ flex: 1 }} aria-label={room.name}>
        <PageHeader actions={<RoomActions room={room} membersShown={members} onMembers={panel.toggle} onInvite={invite.open} />}>
          <RoomTitle room={room} />
        </PageHeader>
        <ErrorBoundary what="The conversation">
          <Timeline roomId={room.roomId} onInvite={invite.open} />
        </ErrorBoundary>
        <Composer roomId={room.roomId} roomName={room.name} />
      </section>
      {wide && members && <aside className={classes["aside"]}>{people}</aside>}
      {!wide && (
        <Drawer opened={members} onClose={panel.close} position="right" size={320} padding={0} withCloseButton={false} aria-label="Members">
          <div className={classes["drawer"]}>{people}</div>
        </Drawer>
      )}
      <InviteDialog room={room} opened={inviting} onClose={invite.close} />
    </div>
  );
}

function RoomTitle({ room }: { room: RoomView }) {
  return (
    <div className={classes["title"]}>
      <PersonAvatar id={room.roomId} name={room.name} size={36} square />
      <div className={classes["words"]}>
        <h1 className={classes["name"]} title={room.name}>
          {room.name}
        </h1>
        <div className={classes["topic"]} title={room.topic || undefined}>
          {room.topic || `${room.memberCount} ${room.memberCount === 1 ? "member" : "members"}`}
        </div>
      </div>
    </div>
  );
}

interface ActionProps {
  room: RoomView;
  membersShown: boolean;
  onMembers: () => void;
  onInvite: () => void;
}

function RoomActions({ room, membersShown, onMembers, onInvite }: ActionProps) {
  const [leaving, confirm] = useDisclosure(false);
  return (
    <>
      <Button className={classes["invite"] ?? ""} size="xs" h={32} leftSection={<IconUserPlus size={16} />} onClick={onInvite} aria-label="Invite">
        <span className={classes["inviteLabel"]}>Invite</span>
      </Button>
      <Tooltip label="Members">
        <ActionIcon size="lg" aria-label="Members" aria-pressed={membersShown} variant={membersShown ? "light" : "subtle"} onClick={onMembers}>
          <IconUsers size={19} />
        </ActionIcon>
      </Tooltip>
      <Menu position="bottom-end" withArrow>
        <Menu.Target>
          <ActionIcon size="lg" aria-label="More">
            <IconDotsVertical size={19} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item color="red" leftSection={<IconDoorExit size={17} />} onClick={confirm.open}>
            Leave room
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <LeaveDialog room={room} opened={leaving} onClose={confirm.close} />
    </>
  );
}

function afterLeaving({ memberCount, joinRule }: RoomView): string {
  if (memberCount === 1) return "You are its last member: nobody could come back to it.";
  return joinRule === "public" ? "You can come back with an invite link." : "You can come back only if someone lets you in again.";
}

function LeaveDialog({ room, opened, onClose }: { room: RoomView; opened: boolean; onClose: () => void }) {
  const client = useClient();
  const [busy, setBusy] = useState(false);
  const leave = async (): Promise<void> => {
    setBusy(true);
    try {
      await client.leave(room.roomId);
      onClose();
      goTo({ place: "home" }, true);
    } catch (error) {
      notifyFailure("Could not leave the room", error);
    }
    setBusy(false);
  };
  return (
    <Modal opened={opened} onClose={onClose} title={`Leave ${room.name}?`} size="sm">
      <Text size="sm" c="dimmed">
        {afterLeaving(room)}
      </Text>
      <Group justify="flex-end" mt="lg">
        <Button variant="default" onClick={onClose}>
          Stay
        </Button>
        <Button color="red" loading={busy} onClick={() => void leave()}>
          Leave
        </Button>
      </Group>
    </Modal>
  );
}
