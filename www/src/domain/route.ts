/** What the address bar says: the app's places, kept in the fragment so that no server ever sees them. */
import { type Invite, formatInvite, parseInvite } from "./invite-link.ts";

export type Route =
  | { place: "home" }
  | { place: "room"; roomId: string }
  | { place: "join"; invite: Invite }
  | { place: "server" };

/** Reads a fragment (with or without its `#`). Anything unknown is home. */
export function parseRoute(fragment: string): Route {
  const path = fragment.replace(/^#?\/?/, "");
  if (path === "server") return { place: "server" };
  const room = /^room\/([^?]+)$/.exec(path)?.[1];
  if (room !== undefined) {
    const roomId = decode(room);
    if (roomId?.startsWith("!")) return { place: "room", roomId };
  }
  const invite = parseInvite(path);
  return invite ? { place: "join", invite } : { place: "home" };
}

/** The fragment of a place, with its `#`. */
export function formatRoute(route: Route): string {
  switch (route.place) {
    case "home":
      return "#/";
    case "server":
      return "#/server";
    case "room":
      return `#/room/${encodeURIComponent(route.roomId)}`;
    case "join":
      return `#/${formatInvite(route.invite)}`;
  }
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
