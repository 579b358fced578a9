import { Text } from "@mantine/core";
import type { Invite } from "../../domain/invite-link.ts";
import { shortServer } from "../../domain/person.ts";

/** Who invites to what, as far as the link says. */
export function InviteSummary({ invite }: { invite: Invite }) {
  const server = invite.via[0];
  return (
    <Text c="dimmed" ta="center">
      {invite.by ? <b>{invite.by}</b> : "Someone"} invites you to {invite.name ? <b>{invite.name}</b> : "a room"}
      {server && (
        <Text span size="xs" display="block" mt={4}>
          hosted by <code title={server}>{shortServer(server)}</code>
        </Text>
      )}
    </Text>
  );
}
