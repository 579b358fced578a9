import { useEffect } from "react";
import { useTopic } from "./session/client-context.ts";

/** Shows unread messages and invitations in the window's title. */
export function useUnreadTitle(): void {
  const rooms = useTopic("rooms", (client) => client.rooms());
  const unread = rooms.reduce((sum, room) => sum + room.unread + (room.membership === "invite" ? 1 : 0), 0);
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Hearth` : "Hearth";
  }, [unread]);
}
