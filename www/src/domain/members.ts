/** The people of a room. */

export interface Member {
  userId: string;
  name: string;
  server: string;
  membership: "join" | "invite";
  /** Whether the room lets them change others' rights. */
  admin: boolean;
}

/** Those who are in before those who are invited, then by name. */
export function sortMembers(members: readonly Member[]): Member[] {
  const rank = (member: Member): number => (member.membership === "join" ? 0 : 1);
  return [...members].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name) || a.userId.localeCompare(b.userId));
}

/** More rows than these take a browser seconds to lay out. */
const MAX_SHOWN = 200;

/** Of those whose name or user id holds `query`, the first, and how many more there are. */
export function findMembers(members: readonly Member[], query: string): { shown: readonly Member[]; more: number } {
  const wanted = query.trim().toLocaleLowerCase();
  const found = members.filter(({ name, userId }) => `${name}\n${userId}`.toLocaleLowerCase().includes(wanted));
  return { shown: found.slice(0, MAX_SHOWN), more: Math.max(found.length - MAX_SHOWN, 0) };
}

/** Up to `limit` servers of the room to join through: our own, then those with the most members. */
export function viaServers(members: readonly Member[], own: string, limit = 3): string[] {
  const counts = new Map<string, number>();
  for (const { server, membership } of members) {
    if (membership === "join") counts.set(server, (counts.get(server) ?? 0) + 1);
  }
  counts.delete(own);
  const others = [...counts].sort(([a, n], [b, m]) => m - n || a.localeCompare(b)).map(([server]) => server);
  return [own, ...others].slice(0, limit);
}
