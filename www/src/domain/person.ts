/** How people are shown when they have no picture. */

/** Names of the theme's colours that avatars are drawn from. */
export const AVATAR_COLOURS = ["ember", "teal", "indigo", "grape", "green", "pink", "blue", "cyan"] as const;

export type AvatarColour = (typeof AVATAR_COLOURS)[number];

/** One or two letters of a name. */
export function initials(name: string): string {
  const words = name.replace(/^[@#!]/, "").split(/[\s._-]+/u).filter((word) => /[\p{L}\p{N}\p{Emoji_Presentation}]/u.test(word));
  const first = firstGrapheme(words[0] ?? name);
  const last = words.length > 1 ? firstGrapheme(words.at(-1) ?? "") : "";
  return (first + last).toUpperCase() || "?";
}

/** The colour of an id: always the same one. */
export function colourOf(id: string): AvatarColour {
  let hash = 0;
  for (const character of id) hash = (Math.imul(hash, 31) + (character.codePointAt(0) ?? 0)) >>> 0;
  return AVATAR_COLOURS[hash % AVATAR_COLOURS.length] ?? "ember";
}

/** A server name that fits on a line: the ends of a key, or the whole of a short host name. */
export function shortServer(name: string): string {
  return /^[0-9a-f]{64}$/.test(name) ? `${name.slice(0, 6)}…${name.slice(-4)}` : name;
}

/** The server of a user id; empty if it has none. */
export function serverOf(userId: string): string {
  const at = userId.indexOf(":");
  return at < 0 ? "" : userId.slice(at + 1);
}

function firstGrapheme(word: string): string {
  const [first] = new Intl.Segmenter().segment(word.trim());
  return first?.segment ?? "";
}
