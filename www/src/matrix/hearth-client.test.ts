import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { HearthClient } from "./hearth-client.ts";
import { outbox } from "./outbox.ts";

const ADA = "@ada:here";
const ROOM = "!room:here";
/** Joined in another tab, after this client's first sync. */
const NEW_ROOM = "!new:here";

/** What the homeserver is asked to write, and how it answers. */
let sent: string[];
let answer: (path: string) => [status: number, body: object];
/** Answers the sync that waits. */
let tell: (sync: object) => void;
let client: HearthClient;

// The SDK asks for it, and Node has it from version 22 on.
Promise.withResolvers = <T>() => {
  const made = {} as PromiseWithResolvers<T>;
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

/** Ada, in a room where she said "hi". */
const JOINED = {
  state: { events: [] },
  timeline: {
    events: [
      { type: "m.room.member", event_id: "$join", sender: ADA, state_key: ADA, origin_server_ts: 1, content: { membership: "join" } },
      { type: "m.room.message", event_id: "$hi", sender: ADA, origin_server_ts: 2, content: { msgtype: "m.text", body: "hi" } },
    ],
  },
};

function respond(path: string, method: string): [number, object] {
  if (path.endsWith("/versions")) return [200, { versions: ["v1.11"] }];
  if (path.endsWith("/filter")) return [200, { filter_id: "1" }];
  if (path.endsWith("/pushrules/")) return [200, { global: {} }];
  if (path.endsWith("/sync")) return [200, { next_batch: "1", rooms: { join: { [ROOM]: JOINED } } }];
  if (path.endsWith("/joined_rooms")) return [200, { joined_rooms: [ROOM, NEW_ROOM] }];
  if (method !== "PUT") return [404, { errcode: "M_NOT_FOUND" }];
  sent.push(path);
  return answer(path);
}

beforeEach(() => {
  sent = [];
  answer = () => [200, { event_id: `$sent${sent.length}` }];
  const stored = new Map<string, string>();
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => stored.get(key) ?? null,
    removeItem: (key: string) => void stored.delete(key),
    setItem: (key: string, value: string) => void stored.set(key, value),
  });
  vi.stubGlobal("fetch", async (input: URL | string, init: RequestInit) => {
    const url = new URL(input.toString());
    if (url.searchParams.has("since")) {
      const more = await new Promise<object>((resolve, reject) => {
        tell = resolve;
        init.signal?.addEventListener("abort", reject);
      });
      return Response.json(more);
    }
    const [status, body] = respond(decodeURIComponent(url.pathname), init.method ?? "GET");
    return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
  });
  client = new HearthClient("https://hearth.example", { userId: ADA, deviceId: "D", accessToken: "token", password: "secret" }, () => undefined);
});

afterEach(() => {
  client.stop();
  vi.unstubAllGlobals();
});

async function start(): Promise<void> {
  await client.start();
  await vi.waitFor(() => expect(client.isReady()).toBe(true));
}

/** What stands in the room, and what became of it. */
const shown = (): unknown[] => client.timeline(ROOM).events.map(({ content, delivery }) => [content.kind === "text" ? content.body : content.kind, delivery]);

test("a message that may not be deleted stands as it did, and others are sent after it", async () => {
  await start();
  answer = (path) => (path.includes("/redact/") ? [403, { errcode: "M_FORBIDDEN", error: "no" }] : [200, { event_id: "$next" }]);
  await expect(client.redact(ROOM, "$hi")).rejects.toThrow("no");
  expect(shown().slice(1)).toEqual([["hi", "sent"]]);
  client.send(ROOM, "next");
  await vi.waitFor(() => expect(shown().at(-1)).toEqual(["next", "sent"]));
  expect(sent.map((path) => path.split("/").at(-2))).toEqual(["$hi", "m.room.message"]);
});

test("what was not sent to a room that the first sync does not have is sent when another tells that the user is in it", async () => {
  for (const roomId of [ROOM, NEW_ROOM, "!left:here"]) outbox.add({ userId: ADA, roomId, txnId: `to ${roomId}`, body: "hi" });
  await start();
  await vi.waitFor(() => expect(outbox.list(ADA).map(({ roomId }) => roomId)).toEqual([NEW_ROOM]));
  expect(sent.map((path) => path.split("/").at(-1))).toEqual([`to ${ROOM}`]);
  tell({ next_batch: "2", rooms: { join: { [NEW_ROOM]: JOINED } } });
  await vi.waitFor(() => expect(outbox.list(ADA)).toEqual([]));
  expect(sent.map((path) => path.split("/").at(-1))).toEqual([`to ${ROOM}`, `to ${NEW_ROOM}`]);
});
