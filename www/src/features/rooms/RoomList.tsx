import { ActionIcon, Badge, Button, Text, TextInput, Tooltip } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconLink, IconPlus, IconSearch, IconSettings } from "@tabler/icons-react";
import { useState } from "react";
import { type RoomSummary, badge, filterRooms } from "../../domain/room-list.ts";
import { type Route, formatRoute } from "../../domain/route.ts";
import { shortTime } from "../../domain/time.ts";
import { Logo } from "../../ui/Logo.tsx";
import { PersonAvatar } from "../../ui/PersonAvatar.tsx";
import { useClient, useTopic } from "../session/client-context.ts";
import { useNow } from "../session/use-now.ts";
import { SettingsDialog } from "../settings/SettingsDialog.tsx";
import { FollowLinkDialog } from "./FollowLinkDialog.tsx";
import { InvitationCard } from "./InvitationCard.tsx";
import { NewRoomDialog } from "./NewRoomDialog.tsx";
import classes from "./RoomList.module.css";

/** A filter is of no use for a handful of rooms. */
const FILTER_FROM = 8;

/** All rooms and invitations, ways to more of them, and who one is. */
export function RoomList({ route }: { route: Route }) {
  const rooms = useTopic("rooms", (client) => client.rooms());
  const [query, setQuery] = useState("");
  const [making, dialog] = useDisclosure(false);
  const [following, link] = useDisclosure(false);
  const shown = filterRooms(rooms, query);
  const current = route.place === "room" ? route.roomId : undefined;
  return (
    <nav className={classes["list"]} aria-label="Rooms">
      <div className={classes["top"]}>
        <a className={classes["brand"]} href={formatRoute({ place: "home" })} aria-label="Hearth, home">
          <Logo size={26} />
          <span>Hearth</span>
        </a>
        <Tooltip label="Join with a link">
          <ActionIcon size="lg" aria-label="Join with a link" onClick={link.open}>
            <IconLink size={18} />
          </ActionIcon>
        </Tooltip>
        <Button size="xs" px={10} variant="light" leftSection={<IconPlus size={16} />} onClick={dialog.open}>
          New room
        </Button>
      </div>
      {rooms.length >= FILTER_FROM && (
        <TextInput className={classes["filter"] ?? ""} size="sm" placeholder="Filter" aria-label="Filter rooms" leftSection={<IconSearch size={15} />} value={query} onChange={(event) => setQuery(event.currentTarget.value)} />
      )}
      <ul className={classes["rooms"]}>
        {shown.map((room) => (
          <li key={room.roomId}>
            {room.membership === "invite" ? <InvitationCard room={room} /> : <RoomRow room={room} current={room.roomId === current} />}
          </li>
        ))}
        {shown.length === 0 && (
          <Text component="li" c="dimmed" size="sm" ta="center" mt="xl" px="lg">
            {query ? "No room has this name." : "No rooms yet. They will stand here."}
          </Text>
        )}
      </ul>
      <Me />
      <NewRoomDialog opened={making} onClose={dialog.close} />
      <FollowLinkDialog opened={following} onClose={link.close} />
    </nav>
  );
}

function RoomRow({ room, current }: { room: RoomSummary; current: boolean }) {
  const now = useNow();
  const label = room.unread > 0 ? `${room.name}, ${room.unread} unread` : room.name;
  return (
    <a className={classes["row"]} href={formatRoute({ place: "room", roomId: room.roomId })} aria-label={label} aria-current={current ? "page" : undefined} data-unread={room.unread > 0 || undefined}>
      <PersonAvatar id={room.roomId} name={room.name} size={42} square />
      <span className={classes["words"]}>
        <span className={classes["line"]}>
          <span className={classes["name"]}>{room.name}</span>
          {room.lastTs > 0 && <time className={classes["time"]}>{shortTime(room.lastTs, now)}</time>}
        </span>
        <span className={classes["line"]}>
          <span className={classes["preview"]}>{room.preview}</span>
          {room.unread > 0 && (
            <Badge size="sm" circle={room.unread < 10} className={classes["badge"] ?? ""}>
              {badge(room.unread)}
            </Badge>
          )}
        </span>
      </span>
    </a>
  );
}

function Me() {
  const client = useClient();
  const name = useTopic("me", (one) => one.myName());
  const [opened, settings] = useDisclosure(false);
  return (
    <div className={classes["me"]}>
      <PersonAvatar id={client.userId} name={name} size={34} />
      <Text fw={550} truncate flex={1} title={client.userId}>
        {name}
      </Text>
      <Tooltip label="Settings">
        <ActionIcon size="lg" aria-label="Settings" onClick={settings.open}>
          <IconSettings size={19} />
        </ActionIcon>
      </Tooltip>
      <SettingsDialog opened={opened} onClose={settings.close} />
    </div>
  );
}
