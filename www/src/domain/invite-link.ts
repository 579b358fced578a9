/**
 * Invite links: `<origin>/#/join/<roomId>?via=<server>&relay=<multiaddr>&name=<room>&by=<person>`.
 *
 * Everything stands in the fragment, which browsers do not send. `name` and `by` are only what the inviter's app wrote:
 * they are shown before joining, never trusted. A link may come from anyone, so every part is bounded.
 */
const MAX_VIA = 3;
const MAX_RELAYS = 4;
const MAX_LABEL = 80;
const MAX_ADDRESS = 256;
const ROOM_ID = /^![A-Za-z0-9._~:\-+/=]{1,254}$/;
const SERVER_NAME = /^[A-Za-z0-9.:[\]-]{1,230}$/;

/** An invitation to a room that anyone with the link may join. */
export interface Invite {
  roomId: string;
  /** Servers in the room, by name. */
  via: readonly string[];
  /** Multiaddrs of relays at which those servers can be met. */
  relays: readonly string[];
  /** What the inviter's app calls the room. */
  name?: string;
  /** The inviter's display name. */
  by?: string;
}

/** The part of the link after `#/`. */
export function formatInvite(invite: Invite): string {
  const query = [
    ...invite.via.slice(0, MAX_VIA).map((server) => `via=${encodeURIComponent(server)}`),
    ...invite.relays.slice(0, MAX_RELAYS).map((relay) => `relay=${encodeURIComponent(relay)}`),
    ...(invite.name ? [`name=${encodeURIComponent(label(invite.name))}`] : []),
    ...(invite.by ? [`by=${encodeURIComponent(label(invite.by))}`] : []),
  ];
  return `join/${encodeURIComponent(invite.roomId)}?${query.join("&")}`;
}

/** The whole link, for an app that lives at `origin`. */
export function inviteUrl(origin: string, invite: Invite): string {
  return `${origin}/#/${formatInvite(invite)}`;
}

/** Reads what {@link formatInvite} wrote; undefined if it is no invite. */
export function parseInvite(path: string): Invite | undefined {
  const match = /^join\/([^?]+)(?:\?(.*))?$/s.exec(path);
  if (!match) return undefined;
  const roomId = decode(match[1] ?? "");
  if (roomId === undefined || !ROOM_ID.test(roomId)) return undefined;
  const query = new URLSearchParams(match[2] ?? "");
  const name = label(query.get("name") ?? "");
  const by = label(query.get("by") ?? "");
  return {
    roomId,
    via: unique(query.getAll("via")).filter((server) => SERVER_NAME.test(server)).slice(0, MAX_VIA),
    relays: unique(query.getAll("relay")).filter(isMultiaddr).slice(0, MAX_RELAYS),
    ...(name && { name }),
    ...(by && { by }),
  };
}

/** Finds the invite in a link that somebody pasted, whatever app it was made by. */
export function inviteFromUrl(text: string): Invite | undefined {
  const at = text.indexOf("#/join/");
  return at < 0 ? undefined : parseInvite(text.slice(at + 2).trim());
}

function isMultiaddr(text: string): boolean {
  return text.length <= MAX_ADDRESS && /^\/[\x21-\x7e]+$/.test(text);
}

/** Text for people: one line, bounded, without control or direction-changing characters. */
function label(text: string): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim();
  return Array.from(clean).slice(0, MAX_LABEL).join("");
}

function unique(list: readonly string[]): string[] {
  return [...new Set(list)];
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
