/** The list of rooms: one summary each, invitations first, then the latest activity first. */
import { clipped } from "./legible.ts";
import type { TimelineEvent } from "./timeline.ts";
import { describe } from "./timeline.ts";

/** A room in the list. */
export interface RoomSummary {
  roomId: string;
  name: string;
  topic: string;
  membership: "join" | "invite";
  /** Who invited us, by name and by id; only in invitations. */
  inviter?: string;
  inviterId?: string;
  memberCount: number;
  unread: number;
  lastTs: number;
  preview: string;
}

const MAX_PREVIEW = 120;

/** Invitations first, then by time, the latest first; equal times by name, so that the order is stable. */
export function sortRooms(rooms: readonly RoomSummary[]): RoomSummary[] {
  const rank = (room: RoomSummary): number => (room.membership === "invite" ? 0 : 1);
  return [...rooms].sort((a, b) => rank(a) - rank(b) || b.lastTs - a.lastTs || a.name.localeCompare(b.name));
}

/** Rooms whose name holds `query`. */
export function filterRooms(rooms: readonly RoomSummary[], query: string): RoomSummary[] {
  const wanted = query.trim().toLocaleLowerCase();
  return wanted ? rooms.filter((room) => room.name.toLocaleLowerCase().includes(wanted)) : [...rooms];
}

/** The line under a room's name. */
export function previewOf(event: TimelineEvent | undefined, me: string): string {
  if (!event) return "";
  const who = event.sender.userId === me ? "You" : event.sender.name;
  switch (event.content.kind) {
    case "text":
      return shorten(event.content.emote ? `${event.sender.name} ${event.content.body}` : `${who}: ${event.content.body}`);
    case "redacted":
      return `${who} deleted a message`;
    case "unsupported":
      return `${who} sent something this app cannot show yet`;
    case "membership":
      if (event.content.target.userId === me && event.content.change === "joined") return "You joined";
      return shorten(describe([event]));
    default:
      return shorten(describe([event]));
  }
}

function shorten(text: string): string {
  return clipped(text.replace(/\s+/gu, " ").trim(), MAX_PREVIEW);
}

/** An unread count that fits into a badge. */
export function badge(unread: number): string {
  return unread > 99 ? "99+" : String(unread);
}
