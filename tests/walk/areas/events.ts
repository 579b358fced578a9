/** Events: sent, redacted, related, read, searched, synced. */
import type { User } from "../user.ts";
import type { Walk } from "../walk.ts";

const ROOM = "/v3/rooms/{roomId}";

export async function events(walk: Walk): Promise<void> {
  const [kim, lee] = [await walk.register("kim"), await walk.register("lee")];
  const roomId = await kim.createRoom();
  const eventId = await kim.say(roomId, "hello");
  await sending(kim, lee, roomId, eventId);
  await receipts(kim, roomId, eventId);
  await relations(kim, lee, roomId, eventId);
  await reading(kim, lee, roomId, eventId);
  await search(kim);
  await redaction(kim, lee, roomId, eventId);
  await sync(kim);
  await peeking(kim, lee);
}

async function sending(kim: User, lee: User, roomId: string, eventId: string): Promise<void> {
  const send = `PUT ${ROOM}/send/{eventType}/{txnId}`;
  const reaction = { roomId, eventType: "m.reaction" };
  const content = { "m.relates_to": { rel_type: "m.annotation", event_id: eventId, key: "👍" } };
  await kim.good(send, { ...reaction, txnId: "first" }, content);
  await kim.bad(400, "M_DUPLICATE_ANNOTATION", send, { ...reaction, txnId: "second" }, content);
  await lee.bad(403, "M_FORBIDDEN", send, { roomId, eventType: "m.room.message", txnId: "0" }, { body: "let me in" });
  const state = `${ROOM}/state/{eventType}/{stateKey}`;
  const topic = { roomId, eventType: "m.room.topic", stateKey: "" };
  await kim.good(`PUT ${state}`, topic, { topic: "Tea" });
  await lee.bad(403, "M_FORBIDDEN", `PUT ${state}`, topic, { topic: "Coffee" });
  const alias = { ...topic, eventType: "m.room.canonical_alias" };
  await kim.bad(400, "M_BAD_ALIAS", `PUT ${state}`, alias, { alias: `#none:${kim.server}` });
  await kim.bad(400, "M_INVALID_PARAM", `PUT ${state}`, alias, { alias: "none" });
  await kim.good(`GET ${state}`, topic);
  await kim.bad(404, "M_NOT_FOUND", `GET ${state}`, { ...topic, stateKey: "none" });
  await lee.bad(403, "M_FORBIDDEN", `GET ${state}`, topic);
  const typing = `PUT ${ROOM}/typing/{userId}`;
  await kim.good(typing, { roomId, userId: kim.userId }, { typing: true, timeout: 1_000 });
  await lee.bad(403, "M_FORBIDDEN", typing, { roomId, userId: kim.userId }, { typing: true });
}

async function receipts(kim: User, roomId: string, eventId: string): Promise<void> {
  const receipt = `POST ${ROOM}/receipt/{receiptType}/{eventId}`;
  await kim.good(receipt, { roomId, receiptType: "m.read", eventId }, {});
  await kim.bad(400, "M_INVALID_PARAM", receipt, { roomId, receiptType: "m.read", eventId }, { thread_id: "" });
  await kim.bad(400, "M_INVALID_PARAM", receipt, { roomId, receiptType: "m.unread", eventId }, {});
  const markers = `POST ${ROOM}/read_markers`;
  await kim.good(markers, { roomId }, { "m.fully_read": eventId, "m.read": eventId });
  await kim.bad(400, "M_BAD_JSON", markers, { roomId }, { "m.read": 5 });
}

async function relations(kim: User, lee: User, roomId: string, eventId: string): Promise<void> {
  for (const rel_type of ["m.thread", "m.reference", "m.replace"]) {
    await kim.say(roomId, rel_type, { "m.new_content": { body: "new" }, "m.relates_to": { rel_type, event_id: eventId } });
  }
  const all = "GET /v1/rooms/{roomId}/relations/{eventId}";
  for (const route of [all, `${all}/{relType}`, `${all}/{relType}/{eventType}`]) {
    const named = { relType: "m.thread", eventType: "m.room.message" };
    const asked = Object.fromEntries(Object.entries(named).filter(([name]) => route.includes(name)));
    const { chunk } = await kim.good(route, { roomId, eventId, ...asked });
    if (chunk.length === 0) throw new Error(`${route} finds nothing`);
    await lee.bad(404, "M_NOT_FOUND", route, { roomId, eventId, ...asked });
    await kim.bad(404, "M_NOT_FOUND", route, { roomId, eventId: "$unknown", ...asked });
  }
  const threads = "GET /v1/rooms/{roomId}/threads";
  await kim.good(threads, { roomId });
  await kim.bad(400, "M_INVALID_PARAM", threads, { roomId, from: "nowhere" });
  await lee.bad(403, "M_FORBIDDEN", threads, { roomId });
}

async function reading(kim: User, lee: User, roomId: string, eventId: string): Promise<void> {
  for (const part of ["event", "context"]) {
    await kim.good(`GET ${ROOM}/${part}/{eventId}`, { roomId, eventId });
    await kim.bad(404, "M_NOT_FOUND", `GET ${ROOM}/${part}/{eventId}`, { roomId, eventId: "$unknown" });
  }
  await lee.bad(404, "M_NOT_FOUND", `GET ${ROOM}/event/{eventId}`, { roomId, eventId });
  const messages = `GET ${ROOM}/messages`;
  await kim.good(messages, { roomId, dir: "b" });
  await kim.bad(400, "M_MISSING_PARAM", messages, { roomId });
  await kim.bad(400, "M_INVALID_PARAM", messages, { roomId, dir: "sideways" });
  await lee.bad(403, "M_FORBIDDEN", messages, { roomId, dir: "b" });
}

async function search(kim: User): Promise<void> {
  const route = "POST /v3/search";
  const wanted = {
    search_term: "hello",
    order_by: "recent",
    include_state: true,
    event_context: { include_profile: true },
    groupings: { group_by: [{ key: "room_id" }, { key: "sender" }] },
  };
  const { search_categories } = await kim.good(route, {}, { search_categories: { room_events: wanted } });
  if (search_categories.room_events.results.length === 0) throw new Error("the search finds nothing");
  await kim.bad(400, "M_MISSING_PARAM", route, {}, { search_categories: { room_events: {} } });
  await kim.bad(400, "M_INVALID_PARAM", route, { next_batch: "nowhere" }, { search_categories: { room_events: wanted } });
}

async function redaction(kim: User, lee: User, roomId: string, eventId: string): Promise<void> {
  const route = `PUT ${ROOM}/redact/{eventId}/{txnId}`;
  await lee.bad(403, "M_FORBIDDEN", route, { roomId, eventId, txnId: "r" }, {});
  await kim.good(route, { roomId, eventId, txnId: "r" }, { reason: "typo" });
  await kim.good(`GET ${ROOM}/event/{eventId}`, { roomId, eventId });
}

async function sync(kim: User): Promise<void> {
  const route = "GET /v3/sync";
  const { next_batch: since } = await kim.good(route, { use_state_after: true });
  await kim.good(route, { since, full_state: true, set_presence: "offline" });
  await kim.bad(400, "M_INVALID_PARAM", route, { since: "nowhere" });
  await kim.bad(400, "M_INVALID_PARAM", route, { set_presence: "asleep" });
  const sliding = "POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
  const list = { ranges: [[0, 9]], required_state: [["m.room.topic", ""]], timeline_limit: 5 };
  const extensions = { to_device: { enabled: true }, e2ee: { enabled: true }, receipts: { enabled: true } };
  const { pos, rooms } = await kim.good(sliding, {}, { lists: { all: list }, extensions });
  if (Object.keys(rooms).length === 0) throw new Error("sliding sync shows no room");
  await kim.good(sliding, { pos }, { lists: { all: list } });
  await kim.bad(400, "M_UNKNOWN_POS", sliding, { pos: "nowhere" }, { lists: { all: list } });
}

/** Section "Room Previews", and the deprecated streams, of which the list of rows asks nothing. */
async function peeking(kim: User, lee: User): Promise<void> {
  const [snapshot, events] = [`GET ${ROOM}/initialSync`, "GET /v3/events"];
  const roomId = await kim.createRoom({ preset: "public_chat" });
  await lee.bad(403, "M_FORBIDDEN", snapshot, { roomId });
  await lee.bad(403, "M_FORBIDDEN", events, { room_id: roomId });
  await kim.set(roomId, "m.room.history_visibility", "", { history_visibility: "world_readable" });
  const { messages } = await lee.good(snapshot, { roomId, limit: 5 });
  const eventId = await kim.say(roomId, "peekaboo");
  const { chunk } = await lee.good(events, { room_id: roomId, from: messages.end, timeout: 20_000 });
  if (chunk[0]?.event_id !== eventId) throw new Error("who peeks hears nothing");
  await lee.bad(400, "M_INVALID_PARAM", events, { from: "nowhere" });
  const { end } = await kim.good("GET /v3/initialSync", { limit: 1, archived: true });
  await kim.good(events, { from: end });
  await kim.good("GET /v3/events/{eventId}", { eventId });
  await kim.bad(404, "M_NOT_FOUND", "GET /v3/events/{eventId}", { eventId: "$unknown" });
}
