/** Matrix user names made from display names. */

/** At most this many characters, so that `@name:<64 hex digits>` stays far below Matrix's 255. */
const MAX_LENGTH = 32;

/** A localpart for a display name: what is left of it in `[a-z0-9._-]`, or `me`. */
export function usernameFor(displayName: string): string {
  const plain = displayName.normalize("NFKD").replace(/\p{M}+/gu, "").toLowerCase();
  const slug = plain.replace(/[^a-z0-9]+/g, "-").slice(0, MAX_LENGTH).replace(/^-+|-+$/g, "");
  return slug || "me";
}

/** The same name with a suffix, for when the first was taken. `random` is in 0..1. */
export function usernameWithSuffix(username: string, random: number): string {
  return `${username}-${Math.floor(random * 36 ** 4).toString(36).padStart(4, "0")}`;
}
