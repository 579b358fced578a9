/** End-to-end encryption: keys of devices and users, messages between devices, key backups. */
import { signingKey } from "../signing.ts";
import type { User } from "../user.ts";
import type { Walk } from "../walk.ts";

export async function keys(walk: Walk): Promise<void> {
  const [mia, ned] = [await walk.register("mia"), await walk.register("ned")];
  await ned.join(await mia.createRoom({ preset: "public_chat" }));
  const { next_batch: from } = await ned.good("GET /v3/sync");
  await ofDevices(mia, ned);
  await ofUsers(mia);
  await betweenDevices(mia, ned);
  const { next_batch: to, device_lists } = await ned.good("GET /v3/sync", { since: from });
  if (!device_lists.changed.includes(mia.userId)) throw new Error("nobody hears of the new keys");
  await ned.good("GET /v3/keys/changes", { from, to });
  await ned.bad(400, "M_MISSING_PARAM", "GET /v3/keys/changes");
  await ned.bad(400, "M_INVALID_PARAM", "GET /v3/keys/changes", { from: "nowhere", to });
  await backups(mia);
}

async function ofDevices(mia: User, ned: User): Promise<void> {
  const { userId, deviceId } = mia;
  const [identity, once] = [signingKey(deviceId), signingKey("other")];
  const device = {
    user_id: userId,
    device_id: deviceId,
    algorithms: ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
    keys: { [`ed25519:${deviceId}`]: identity.publicKey, [`curve25519:${deviceId}`]: once.publicKey },
  };
  await mia.good("POST /v3/keys/upload", {}, {
    device_keys: identity.sign(userId, device),
    one_time_keys: { "signed_curve25519:A": identity.sign(userId, { key: once.publicKey }) },
    fallback_keys: { "signed_curve25519:F": identity.sign(userId, { key: once.publicKey, fallback: true }) },
  });
  await ned.bad(400, "M_INVALID_PARAM", "POST /v3/keys/upload", {}, { device_keys: identity.sign(userId, device) });
  await ned.good("POST /v3/keys/query", {}, { device_keys: { [userId]: [] } });
  await ned.bad(400, "M_BAD_JSON", "POST /v3/keys/query", {}, { device_keys: { [userId]: 5 } });
  await ned.good("POST /v3/keys/claim", {}, { one_time_keys: { [userId]: { [deviceId]: "signed_curve25519" } } });
  await ned.bad(400, "M_BAD_JSON", "POST /v3/keys/claim", {}, { one_time_keys: { [userId]: 5 } });
}

async function ofUsers(mia: User): Promise<void> {
  const { userId, deviceId } = mia;
  const [master, own, others] = [signingKey(), signingKey(), signingKey()];
  const key = (usage: string, publicKey: string) => ({ user_id: userId, usage: [usage], keys: { [`ed25519:${publicKey}`]: publicKey } });
  const all = {
    master_key: key("master", master.publicKey),
    self_signing_key: master.sign(userId, key("self_signing", own.publicKey)),
    user_signing_key: master.sign(userId, key("user_signing", others.publicKey)),
  };
  for (const route of ["POST /v3/keys/device_signing/upload", "POST /_matrix/client/unstable/keys/device_signing/upload"]) {
    await mia.bad(400, "M_MISSING_PARAM", route, {}, { self_signing_key: all.self_signing_key, auth: mia.auth() });
    const forged = others.sign(userId, key("self_signing", own.publicKey));
    await mia.bad(400, "M_INVALID_SIGNATURE", route, {}, { ...all, self_signing_key: forged, auth: mia.auth() });
    const clash = key("master", deviceId);
    await mia.bad(403, "M_FORBIDDEN", route, {}, { master_key: clash, auth: mia.auth() });
  }
  await mia.good("POST /v3/keys/device_signing/upload", {}, all);
  await mia.good("POST /_matrix/client/unstable/keys/device_signing/upload", {}, all);
  const { device_keys } = await mia.good("POST /v3/keys/query", {}, { device_keys: { [userId]: [] } });
  const device = device_keys[userId][deviceId];
  delete device.unsigned;
  const signed = own.sign(userId, device);
  const { failures } = await mia.good("POST /v3/keys/signatures/upload", {}, { [userId]: { [deviceId]: signed } });
  if (Object.keys(failures ?? {}).length > 0) throw new Error(`a signature is refused: ${JSON.stringify(failures)}`);
  await mia.bad(400, "M_BAD_JSON", "POST /v3/keys/signatures/upload", {}, { [userId]: 5 });
}

async function betweenDevices(mia: User, ned: User): Promise<void> {
  const route = "PUT /v3/sendToDevice/{eventType}/{txnId}";
  const parameters = { eventType: "org.example", txnId: "0" };
  await mia.good(route, parameters, { messages: { [ned.userId]: { "*": { text: "psst" } } } });
  await mia.bad(400, "M_BAD_JSON", route, parameters, { messages: 5 });
}

const VERSION = "/v3/room_keys/version";
const KEYS = "/v3/room_keys/keys";
const BACKUP = { algorithm: "m.megolm_backup.v1.curve25519-aes-sha2", auth_data: { public_key: "abc" } };

async function backups(mia: User): Promise<void> {
  await mia.bad(404, "M_NOT_FOUND", `GET ${VERSION}`);
  const { version } = await mia.good(`POST ${VERSION}`, {}, BACKUP);
  await mia.bad(400, "M_BAD_JSON", `POST ${VERSION}`, {}, { algorithm: 5 });
  await mia.good(`GET ${VERSION}`);
  const one = `${VERSION}/{version}`;
  await mia.good(`GET ${one}`, { version });
  await mia.bad(404, "M_NOT_FOUND", `GET ${one}`, { version: "unknown" });
  await mia.good(`PUT ${one}`, { version }, BACKUP);
  await mia.bad(404, "M_NOT_FOUND", `PUT ${one}`, { version: "unknown" }, BACKUP);
  await mia.bad(400, "M_INVALID_PARAM", `PUT ${one}`, { version }, { ...BACKUP, algorithm: "org.example" });
  await backedUpKeys(mia, version);
  await mia.bad(404, "M_NOT_FOUND", `DELETE ${one}`, { version: "unknown" });
  await mia.good(`DELETE ${one}`, { version });
}

async function backedUpKeys(mia: User, version: string): Promise<void> {
  const key = { first_message_index: 0, forwarded_count: 0, is_verified: true, session_data: { ciphertext: "x" } };
  const [roomId, sessionId] = ["!room:example.org", "session"];
  const scopes = [
    { route: KEYS, place: {}, body: { rooms: { [roomId]: { sessions: { [sessionId]: key } } } } },
    { route: `${KEYS}/{roomId}`, place: { roomId }, body: { sessions: { [sessionId]: key } } },
    { route: `${KEYS}/{roomId}/{sessionId}`, place: { roomId, sessionId }, body: key },
  ];
  for (const method of ["PUT", "GET", "DELETE"]) {
    for (const { route, place, body } of scopes) {
      const json = method === "PUT" ? body : undefined;
      await mia.good(`${method} ${route}`, { ...place, version }, json);
      await mia.bad(404, "M_NOT_FOUND", `${method} ${route}`, { ...place, version: "unknown" }, json);
      await mia.bad(400, "M_MISSING_PARAM", `${method} ${route}`, place, json);
      // What this deleted the next scope asks for.
      if (method === "DELETE") await mia.good(`PUT ${KEYS}`, { version }, scopes[0]?.body);
    }
  }
  const { version: newer } = await mia.good(`POST ${VERSION}`, {}, BACKUP);
  for (const { route, place, body } of scopes) {
    await mia.bad(403, "M_WRONG_ROOM_KEYS_VERSION", `PUT ${route}`, { ...place, version }, body);
  }
  await mia.good(`DELETE ${VERSION}/{version}`, { version: newer });
}
