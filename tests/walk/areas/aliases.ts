/** Older prefixes, and what browsers ask before they ask. */
import type { Walk } from "../walk.ts";

export async function aliases(walk: Walk): Promise<void> {
  const pia = await walk.register("pia");
  await pia.good("GET /_matrix/client/r0/account/whoami");
  await pia.good("GET /_matrix/client/r0/joined_rooms");
  await walk.nobody.bad(404, "M_NOT_FOUND", "GET /_matrix/client/r0/profile/{userId}", { userId: `@unknown:${pia.server}` });
  await walk.preflight("/_matrix/client/v3/sync");
  await walk.preflight("/_matrix/media/v3/upload");
  await walk.unrecognized("/_matrix/client/v3/nothing");
}
