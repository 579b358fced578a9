/** Rooms: made, entered, left, found, replaced. */
import type { User } from "../user.ts";
import type { Walk } from "../walk.ts";

const ROOM = "/v3/rooms/{roomId}";
const UNKNOWN = "!unknown:example.org";

export async function rooms(walk: Walk): Promise<void> {
  const [hal, ida, jon] = [await walk.register("hal"), await walk.register("ida"), await walk.register("jon")];
  await creation(hal);
  const roomId = await hal.createRoom({ preset: "public_chat", name: "Tea", topic: "Cake", visibility: "public" });
  await membership(hal, ida, jon, roomId);
  await reading(hal, jon, roomId);
  await aliases(hal, jon, roomId);
  await directory(hal, jon, roomId);
  await knocking(hal, jon);
  await spaces(hal, jon);
  await upgrade(hal, ida, roomId);
}

async function creation(hal: User): Promise<void> {
  const route = "POST /v3/createRoom";
  await hal.good(route, {}, { room_alias_name: "taken" });
  await hal.bad(400, "M_ROOM_IN_USE", route, {}, { room_alias_name: "taken" });
  await hal.bad(400, "M_UNSUPPORTED_ROOM_VERSION", route, {}, { room_version: "0" });
  await hal.bad(400, "M_INVALID_ROOM_STATE", route, {}, { initial_state: [{ type: "m.room.power_levels", content: { users: 5 } }] });
  await hal.good("GET /v3/joined_rooms");
  const shy = await hal.walk.register("shy");
  const config = { userId: shy.userId, type: "m.invite_permission_config" };
  await shy.good("PUT /v3/user/{userId}/account_data/{type}", config, { default_action: "block" });
  await hal.bad(403, "M_INVITE_BLOCKED", route, {}, { invite: [shy.userId] });
}

async function membership(hal: User, ida: User, jon: User, roomId: string): Promise<void> {
  const target = { user_id: ida.userId };
  const closed = await hal.createRoom({ preset: "private_chat" });
  await hal.good(`POST ${ROOM}/invite`, { roomId }, target);
  await jon.bad(403, "M_FORBIDDEN", `POST ${ROOM}/invite`, { roomId }, target);
  await ida.good("GET /v3/sync");
  await ida.join(roomId);
  await jon.bad(403, "M_FORBIDDEN", "POST /v3/join/{roomIdOrAlias}", { roomIdOrAlias: closed }, {});
  await jon.bad(403, "M_FORBIDDEN", `POST ${ROOM}/join`, { roomId: closed }, {});
  for (const act of ["kick", "ban", "unban"]) {
    await hal.good(`POST ${ROOM}/${act}`, { roomId }, { ...target, reason: "a walk" });
    await jon.bad(403, "M_FORBIDDEN", `POST ${ROOM}/${act}`, { roomId }, target);
  }
  await ida.good(`POST ${ROOM}/join`, { roomId }, {});
  await ida.bad(400, "M_UNKNOWN", `POST ${ROOM}/forget`, { roomId }, {});
  await ida.good(`POST ${ROOM}/leave`, { roomId }, {});
  await ida.bad(403, "M_FORBIDDEN", `POST ${ROOM}/leave`, { roomId: closed }, {});
  await ida.good(`POST ${ROOM}/forget`, { roomId }, {});
}

async function reading(hal: User, jon: User, roomId: string): Promise<void> {
  for (const part of ["members", "joined_members", "state"]) {
    await hal.good(`GET ${ROOM}/${part}`, { roomId });
    await jon.bad(403, "M_FORBIDDEN", `GET ${ROOM}/${part}`, { roomId });
  }
  await hal.bad(400, "M_INVALID_PARAM", `GET ${ROOM}/members`, { roomId, membership: "lurking" });
}

async function aliases(hal: User, jon: User, roomId: string): Promise<void> {
  const route = "/v3/directory/room/{roomAlias}";
  const roomAlias = `#tea:${hal.server}`;
  await hal.good(`PUT ${route}`, { roomAlias }, { room_id: roomId });
  await hal.bad(409, "M_UNKNOWN", `PUT ${route}`, { roomAlias }, { room_id: roomId });
  await hal.bad(400, "M_INVALID_PARAM", `PUT ${route}`, { roomAlias: "tea" }, { room_id: roomId });
  await hal.good(`GET ${route}`, { roomAlias });
  await hal.bad(400, "M_INVALID_PARAM", `GET ${route}`, { roomAlias: "tea" });
  await hal.bad(404, "M_NOT_FOUND", `GET ${route}`, { roomAlias: `#none:${hal.server}` });
  await hal.good(`GET ${ROOM}/aliases`, { roomId });
  await hal.bad(400, "M_INVALID_PARAM", `GET ${ROOM}/aliases`, { roomId: "tea" });
  const closed = await hal.createRoom({ preset: "private_chat" });
  await jon.bad(403, "M_FORBIDDEN", `GET ${ROOM}/aliases`, { roomId: closed });
  await jon.bad(403, "M_FORBIDDEN", `DELETE ${route}`, { roomAlias });
  await hal.good(`DELETE ${route}`, { roomAlias });
  await hal.bad(404, "M_NOT_FOUND", `DELETE ${route}`, { roomAlias });
}

async function directory(hal: User, jon: User, roomId: string): Promise<void> {
  const route = "/v3/directory/list/room/{roomId}";
  await hal.good(`PUT ${route}`, { roomId }, { visibility: "public" });
  await jon.bad(403, "M_FORBIDDEN", `PUT ${route}`, { roomId }, { visibility: "private" });
  await hal.bad(404, "M_NOT_FOUND", `PUT ${route}`, { roomId: UNKNOWN }, { visibility: "public" });
  await hal.good(`GET ${route}`, { roomId });
  await hal.bad(404, "M_NOT_FOUND", `GET ${route}`, { roomId: UNKNOWN });
  await hal.good("GET /v3/publicRooms", { limit: 5 });
  await hal.bad(400, "M_INVALID_PARAM", "GET /v3/publicRooms", { limit: "many" });
  await hal.good("POST /v3/publicRooms", {}, { filter: { generic_search_term: "tea" } });
  await hal.bad(400, "M_BAD_JSON", "POST /v3/publicRooms", {}, { limit: "many" });
}

async function knocking(hal: User, jon: User): Promise<void> {
  const route = "POST /v3/knock/{roomIdOrAlias}";
  const rule = (join_rule: string) => [{ type: "m.room.join_rules", state_key: "", content: { join_rule } }];
  const [open, closed] = [await hal.createRoom({ initial_state: rule("knock") }), await hal.createRoom({ initial_state: rule("invite") })];
  await jon.good(route, { roomIdOrAlias: open }, { reason: "May I?" });
  await jon.bad(403, "M_FORBIDDEN", route, { roomIdOrAlias: closed }, {});
  await jon.bad(404, "M_NOT_FOUND", route, { roomIdOrAlias: `#none:${hal.server}` }, {});
}

async function spaces(hal: User, jon: User): Promise<void> {
  const space = await hal.createRoom({ creation_content: { type: "m.space" }, name: "Space" });
  await hal.set(space, "m.space.child", await hal.createRoom({ preset: "public_chat" }), { via: [hal.server] });
  const hierarchy = "GET /v1/rooms/{roomId}/hierarchy";
  await hal.good(hierarchy, { roomId: space });
  await jon.bad(403, "M_FORBIDDEN", hierarchy, { roomId: space });
  await hal.bad(400, "M_INVALID_PARAM", hierarchy, { roomId: space, from: "nowhere" });
  const summary = "GET /v1/room_summary/{roomIdOrAlias}";
  await hal.good(summary, { roomIdOrAlias: space });
  await jon.bad(404, "M_NOT_FOUND", summary, { roomIdOrAlias: space });
}

async function upgrade(hal: User, ida: User, roomId: string): Promise<void> {
  const route = `POST ${ROOM}/upgrade`;
  await ida.join(roomId);
  await ida.bad(403, "M_FORBIDDEN", route, { roomId }, { new_version: "11" });
  await hal.bad(400, "M_UNSUPPORTED_ROOM_VERSION", route, { roomId }, { new_version: "0" });
  await hal.good(route, { roomId }, { new_version: "11" });
}
