/** What belongs to a user: profile, filters, account data, tags, push rules, presence. */
import type { User } from "../user.ts";
import type { Parameters, Walk } from "../walk.ts";

export async function settings(walk: Walk): Promise<void> {
  const [fay, gus] = [await walk.register("fay"), await walk.register("gus")];
  const roomId = await fay.createRoom();
  await profile(fay, gus);
  await filters(fay, gus);
  await accountData(fay, gus, roomId);
  await tags(fay, gus, roomId);
  await pushRules(fay);
  await presence(fay, gus);
  await fay.good("GET /v3/pushers");
  if (walk.hasTurn) await fay.good("GET /v3/voip/turnServer");
  const search = "POST /v3/user_directory/search";
  await fay.good(search, {}, { search_term: "gus", limit: 1 });
  await fay.bad(400, "M_MISSING_PARAM", search, {}, { limit: 1 });
}

async function profile(fay: User, gus: User): Promise<void> {
  const [whole, field] = ["/v3/profile/{userId}", "/v3/profile/{userId}/{keyName}"];
  const own = { userId: fay.userId, keyName: "displayname" };
  const unknown = { userId: `@unknown:${fay.server}`, keyName: "displayname" };
  await fay.good(`PUT ${field}`, own, { displayname: "Fay" });
  await fay.good(`GET ${field}`, own);
  await fay.good(`GET ${whole}`, { userId: fay.userId });
  await fay.bad(404, "M_NOT_FOUND", `GET ${field}`, unknown);
  await fay.bad(404, "M_NOT_FOUND", `GET ${whole}`, { userId: unknown.userId });
  await fay.bad(400, "M_MISSING_PARAM", `PUT ${field}`, own, { avatar_url: "mxc://x/y" });
  await gus.bad(403, "M_FORBIDDEN", `PUT ${field}`, own, { displayname: "Gus was here" });
  await gus.bad(403, "M_FORBIDDEN", `DELETE ${field}`, own);
  const long = "k".repeat(256);
  await fay.bad(400, "M_KEY_TOO_LARGE", `PUT ${field}`, { ...own, keyName: long }, { [long]: "x" });
  await fay.bad(400, "M_KEY_TOO_LARGE", `DELETE ${field}`, { ...own, keyName: long });
  const full = { "org.example.large": "x".repeat(65_536) };
  await fay.bad(400, "M_PROFILE_TOO_LARGE", `PUT ${field}`, { ...own, keyName: "org.example.large" }, full);
  await fay.good(`PUT ${field}`, { ...own, keyName: "m.tz" }, { "m.tz": "Europe/Paris" });
  await fay.good(`DELETE ${field}`, { ...own, keyName: "m.tz" });
}

async function filters(fay: User, gus: User): Promise<void> {
  const { userId } = fay;
  const { filter_id: filterId } = await fay.good("POST /v3/user/{userId}/filter", { userId }, { room: { timeline: { limit: 5 } } });
  await gus.bad(403, "M_FORBIDDEN", "POST /v3/user/{userId}/filter", { userId }, {});
  await fay.bad(400, "M_BAD_JSON", "POST /v3/user/{userId}/filter", { userId }, { room: 5 });
  const one = "GET /v3/user/{userId}/filter/{filterId}";
  await fay.good(one, { userId, filterId });
  await fay.bad(404, "M_NOT_FOUND", one, { userId, filterId: "unknown" });
}

async function accountData(fay: User, gus: User, roomId: string): Promise<void> {
  const { userId } = fay;
  const ofUser = "/v3/user/{userId}/account_data/{type}";
  const ofRoom = "/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
  for (const [route, place] of [[ofUser, {}], [ofRoom, { roomId }]] as const) {
    const parameters: Parameters = { userId, type: "org.example", ...place };
    await fay.good(`PUT ${route}`, parameters, { a: 1 });
    await fay.good(`GET ${route}`, parameters);
    await fay.bad(404, "M_NOT_FOUND", `GET ${route}`, { ...parameters, type: "org.example.none" });
    await gus.bad(403, "M_FORBIDDEN", `GET ${route}`, parameters);
    await gus.bad(403, "M_FORBIDDEN", `PUT ${route}`, parameters, {});
    await fay.bad(405, "M_BAD_JSON", `PUT ${route}`, { ...parameters, type: "m.push_rules" }, {});
  }
  const nowhere = { userId, roomId: "nowhere", type: "org.example" };
  await fay.bad(400, "M_INVALID_PARAM", `GET ${ofRoom}`, nowhere);
  await fay.bad(400, "M_INVALID_PARAM", `PUT ${ofRoom}`, nowhere, {});
}

async function tags(fay: User, gus: User, roomId: string): Promise<void> {
  const [all, one] = ["/v3/user/{userId}/rooms/{roomId}/tags", "/v3/user/{userId}/rooms/{roomId}/tags/{tag}"];
  const { userId } = fay;
  await fay.good(`PUT ${one}`, { userId, roomId, tag: "u.work" }, { order: 0.5 });
  await fay.good(`GET ${all}`, { userId, roomId });
  await gus.bad(403, "M_FORBIDDEN", `GET ${all}`, { userId, roomId });
  await gus.bad(403, "M_FORBIDDEN", `PUT ${one}`, { userId, roomId, tag: "u.work" }, {});
  await gus.bad(403, "M_FORBIDDEN", `DELETE ${one}`, { userId, roomId, tag: "u.work" });
  await fay.good(`DELETE ${one}`, { userId, roomId, tag: "u.work" });
}

async function pushRules(fay: User): Promise<void> {
  const rule = "/v3/pushrules/global/{kind}/{ruleId}";
  const [tea, unknown] = [{ kind: "content", ruleId: "tea" }, { kind: "content", ruleId: "unknown" }];
  await fay.good("GET /v3/pushrules/");
  await fay.good("GET /v3/pushrules/global/");
  await fay.good(`PUT ${rule}`, tea, { actions: ["notify"], pattern: "tea" });
  await fay.bad(400, "M_INVALID_PARAM", `PUT ${rule}`, { kind: "content", ruleId: ".m.rule.mine" }, { actions: [], pattern: "x" });
  await fay.bad(404, "M_NOT_FOUND", `PUT ${rule}`, { ...tea, before: "unknown" }, { actions: [], pattern: "tea" });
  await fay.good(`GET ${rule}`, tea);
  await fay.bad(404, "M_NOT_FOUND", `GET ${rule}`, unknown);
  for (const [part, value] of [["enabled", { enabled: false }], ["actions", { actions: [] }]] as const) {
    await fay.good(`PUT ${rule}/${part}`, tea, value);
    await fay.good(`GET ${rule}/${part}`, tea);
    await fay.bad(404, "M_NOT_FOUND", `PUT ${rule}/${part}`, unknown, value);
    await fay.bad(404, "M_NOT_FOUND", `GET ${rule}/${part}`, unknown);
  }
  await fay.good(`DELETE ${rule}`, tea);
  await fay.bad(404, "M_NOT_FOUND", `DELETE ${rule}`, tea);
}

async function presence(fay: User, gus: User): Promise<void> {
  const route = "/v3/presence/{userId}/status";
  const own = { userId: fay.userId };
  await fay.good(`PUT ${route}`, own, { presence: "online", status_msg: "here" });
  await fay.bad(400, "M_BAD_JSON", `PUT ${route}`, own, { presence: "asleep" });
  await gus.bad(403, "M_FORBIDDEN", `PUT ${route}`, own, { presence: "offline" });
  await fay.good(`GET ${route}`, own);
  await gus.bad(403, "M_FORBIDDEN", `GET ${route}`, own);
}
