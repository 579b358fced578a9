import { ActionIcon, Badge, Button, CopyButton, Text, TextInput, Tooltip } from "@mantine/core";
import { IconSearch, IconUserPlus, IconX } from "@tabler/icons-react";
import { memo, useState } from "react";
import { type Member, findMembers } from "../../domain/members.ts";
import { shortServer } from "../../domain/person.ts";
import { PersonAvatar } from "../../ui/PersonAvatar.tsx";
import { useClient, useTopic } from "../session/client-context.ts";
import classes from "./MembersPanel.module.css";

/** A filter is of no use for a handful of people. */
const FILTER_FROM = 20;

/** Who is in a room. */
export function MembersPanel({ roomId, onInvite, onClose }: { roomId: string; onInvite: () => void; onClose: () => void }) {
  const members = useTopic(`members:${roomId}`, (client) => client.members(roomId));
  const [query, setQuery] = useState("");
  const { shown, more } = findMembers(members, query);
  return (
    <section className={classes["panel"]} aria-label="Members">
      <div className={classes["head"]}>
        <Text fw={650} flex={1}>
          Members <span className={classes["dim"]}>{members.length}</span>
        </Text>
        <ActionIcon aria-label="Close members" onClick={onClose}>
          <IconX size={18} />
        </ActionIcon>
      </div>
      {(members.length >= FILTER_FROM || query) && (
        <TextInput className={classes["filter"] ?? ""} size="sm" placeholder="Filter" aria-label="Filter members" leftSection={<IconSearch size={15} />} value={query} onChange={(event) => setQuery(event.currentTarget.value)} />
      )}
      <ul className={classes["people"]} aria-label="People">
        {shown.map((member) => (
          <MemberRow key={member.userId} {...member} />
        ))}
        {more > 0 && (
          <Text component="li" c="dimmed" size="sm" ta="center" py="sm">
            and {more} more
          </Text>
        )}
        {shown.length === 0 && query && (
          <Text component="li" c="dimmed" size="sm" ta="center" mt="xl">
            Nobody here has this name.
          </Text>
        )}
      </ul>
      <div className={classes["foot"]}>
        <Button fullWidth variant="light" leftSection={<IconUserPlus size={17} />} onClick={onInvite}>
          Invite someone
        </Button>
      </div>
    </section>
  );
}

/** Of plain values, so that it is rendered again only if one of them has changed. */
const MemberRow = memo(function MemberRow(member: Member) {
  const me = useClient().userId === member.userId;
  return (
    <li className={classes["person"]} data-away={member.membership === "invite" || undefined}>
      <PersonAvatar id={member.userId} name={member.name} size={34} />
      <div className={classes["words"]}>
        <Text size="sm" fw={550} truncate>
          {member.name}
        </Text>
        <CopyButton value={member.userId}>
          {({ copied, copy }) => (
            <Tooltip label={copied ? "Copied" : member.userId} multiline maw={300} style={{ overflowWrap: "anywhere" }}>
              <button type="button" className={classes["server"]} aria-label={`Copy the user id of ${member.name}`} onClick={copy}>
                {copied ? "Copied" : `${me ? "you · " : ""}${shortServer(member.server)}`}
              </button>
            </Tooltip>
          )}
        </CopyButton>
      </div>
      {member.membership === "invite" && <Badge variant="light" color="gray" size="sm">Invited</Badge>}
      {member.admin && member.membership === "join" && <Badge variant="light" size="sm">Admin</Badge>}
    </li>
  );
});
