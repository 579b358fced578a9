/** Figures of the app in Chromium, in one run: times in milliseconds, sizes in bytes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { App } from "../support/app.ts";
import { expect, test } from "../support/fixtures.ts";

const figures: Record<string, number> = {};

test.afterAll(async () => {
  for (const name of ["wasm_raw_bytes", "wasm_brotli_bytes", "app_brotli_bytes"]) {
    figures[name] = Number(process.env[`HEARTH_${name.toUpperCase()}`]);
  }
  await writeFile(process.env["HEARTH_BENCH_OUT"] ?? "bench.json", JSON.stringify(figures, null, 2));
});

test("a killed worker answers /sync again", async ({ relay, profile }) => {
  const ada = await newUser(await profile(), relay.url, "Ada");
  await ada.createRoom("Sleepy");
  const { accessToken } = await ada.session();
  await quiet(ada);
  const times: number[] = [];
  for (let round = 0; round < 12; round++) {
    await ada.killWorker();
    times.push(await ada.page.evaluate(timeSync, accessToken));
  }
  record("killed_worker_to_sync_ms", times);
});

test("a message is sent, durably", async ({ relay, profile }) => {
  const ada = await newUser(await profile(), relay.url, "Ada");
  await ada.createRoom("Fast lane");
  const { accessToken } = await ada.session();
  const room = await ada.onlyRoom();
  await quiet(ada);
  const times = await ada.page.evaluate(timeSends, { room, accessToken, count: 300 });
  record("put_send_ms", times.slice(50));
  // The browser's own part: the same request for what the homeserver refuses without looking into its store.
  const unstored = await ada.page.evaluate(timeSends, { room, accessToken, count: 150, refused: true });
  record("put_unstored_ms", unstored.slice(50));
});

test("a message reaches the other browser through the relay", async ({ relay, profile }) => {
  const ada = await newUser(await profile(), relay.url, "Ada");
  await ada.createRoom("Far away");
  const grace = await (await profile()).open(await ada.inviteLink());
  await grace.welcome("Grace");
  await grace.send("Ready");
  await expect(ada.message("Ready")).toBeVisible();
  const room = await ada.onlyRoom();
  const receiver = (await grace.session()).accessToken;
  const sender = (await ada.session()).accessToken;
  await quiet(ada);
  await quiet(grace);
  const receiving = grace.page.evaluate(receive, { accessToken: receiver, count: 220 });
  await ada.page.evaluate(sendStamped, { room, accessToken: sender, count: 220 });
  record("browser_to_browser_ms", (await receiving).slice(20));
});

test("a large room is joined through the relay", async ({ relay, profile }) => {
  const ada = await newUser(await profile(), relay.url, "Ada");
  const { accessToken } = await ada.session();
  const holder = await holdLargeRoom((await relay.relays())[0] ?? "", 13_000);
  try {
    await quiet(ada);
    const { syncs, ...course } = await ada.page.evaluate(joinLarge, { accessToken, ...holder.room });
    expect(course.known).toBe(holder.room.members + 1);
    for (const name of ["answered_ms", "usable_ms", "complete_ms"] as const) {
      figures[`join_13000_${name}`] = Math.round(course[name]);
    }
    record("join_13000_sync_ms", syncs);
    figures["join_13000_sync_longest_ms"] = Math.round(Math.max(...syncs));
  } finally {
    holder.stop();
  }
});

test("a worker with 100 rooms and 10,000 events takes little memory", async ({ relay, profile }) => {
  const ada = await newUser(await profile(), relay.url, "Ada");
  const { accessToken } = await ada.session();
  await quiet(ada);
  await ada.page.evaluate(fillRooms, { accessToken, rooms: 100, messages: 100 });
  expect(await ada.page.evaluate(syncRooms, accessToken)).toBe(100);
  figures["worker_memory_mib"] = await memory(ada);
  // A worker that is started anew has nothing of what was needed only to make the rooms.
  await ada.killWorker();
  expect(await ada.page.evaluate(syncRooms, accessToken)).toBe(100);
  figures["worker_memory_restarted_mib"] = await memory(ada);
  expect(figures["worker_memory_mib"]).toBeLessThan(64);
});

/** How much memory the module has, in MiB. It never gives any back, so that this is the most that it has needed. */
async function memory(app: App): Promise<number> {
  const { body } = await app.request("GET", "/_hearth/status");
  return Math.round(((body as { memory_bytes: number }).memory_bytes / 1024 ** 2) * 10) / 10;
}

/** A room with many members, and through whom it is joined. */
interface LargeRoom {
  room: string;
  server: string;
  members: number;
}

/** Starts a native homeserver that is in a room of `members` members, reached through `relay`. */
async function holdLargeRoom(relay: string, members: number): Promise<{ room: LargeRoom; stop: () => void }> {
  const program = process.env["HEARTH_LARGE_ROOM"];
  if (!program) throw new Error("HEARTH_LARGE_ROOM is not set: measure by `cargo xtask bench app`");
  const child = spawn(program, [relay, String(members)], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface(child.stdout);
  const ended = once(child, "exit").then(() => Promise.reject(new Error("the large room's server ended")));
  const [line] = (await Promise.race([once(lines, "line"), ended])) as [string];
  // It ends when it is told to: then nobody waits for it any more.
  ended.catch(() => undefined);
  return { room: JSON.parse(line) as LargeRoom, stop: () => void child.kill() };
}

async function newUser(profile: { open: (url: string) => Promise<App> }, url: string, name: string): Promise<App> {
  const app = await profile.open(url);
  await app.welcome(name);
  return app;
}

/** Leaves the app for a picture of the same origin, so that nothing but the benchmark asks the worker or runs in the page. */
async function quiet(app: App): Promise<void> {
  await app.page.goto(new URL("/favicon.svg", app.page.url()).href);
}

function record(name: string, times: number[]): void {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => Math.round((sorted[Math.floor(share * (sorted.length - 1))] ?? NaN) * 100) / 100;
  expect(sorted.length).toBeGreaterThan(0);
  figures[`${name}_p50`] = at(0.5);
  figures[`${name}_p95`] = at(0.95);
  figures[`${name}_count`] = sorted.length;
}

/** Runs in the page: the time of one `/sync`. */
async function timeSync(accessToken: string): Promise<number> {
  const start = performance.now();
  const response = await fetch("/_matrix/client/v3/sync?timeout=0", {
    headers: { Authorization: `Bearer ${accessToken}` },
  });
  await response.text();
  if (!response.ok) throw new Error(String(response.status));
  return performance.now() - start;
}

/** Runs in the page: the times of sends, one after the other; of sends to an endpoint that is none if `refused`. */
async function timeSends(input: {
  room: string;
  accessToken: string;
  count: number;
  refused?: boolean;
}): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < input.count; index++) {
    const start = performance.now();
    const response = await fetch(
      `/_matrix/client/v3/rooms/${encodeURIComponent(input.room)}/${input.refused ? "none" : "send"}/m.room.message/bench${index}`,
      {
        method: "PUT",
        headers: { Authorization: `Bearer ${input.accessToken}` },
        body: JSON.stringify({ msgtype: "m.text", body: `message ${index}` }),
      },
    );
    await response.text();
    if (response.status !== (input.refused ? 404 : 200)) throw new Error(String(response.status));
    times.push(performance.now() - start);
  }
  return times;
}

/** Runs in the page: sends messages that carry the time at which their sending began. */
async function sendStamped(input: { room: string; accessToken: string; count: number }): Promise<void> {
  for (let index = 0; index < input.count; index++) {
    const response = await fetch(
      `/_matrix/client/v3/rooms/${encodeURIComponent(input.room)}/send/m.room.message/stamp${index}`,
      {
        method: "PUT",
        headers: { Authorization: `Bearer ${input.accessToken}` },
        // A string: Matrix events hold no fractions.
        body: JSON.stringify({ msgtype: "m.text", body: "tick", sent: String(performance.timeOrigin + performance.now()) }),
      },
    );
    if (!response.ok) throw new Error(String(response.status));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs in the page: the time from the start of each sending to its arrival in a long-poll. */
async function receive(input: { accessToken: string; count: number }): Promise<number[]> {
  const times: number[] = [];
  const headers = { Authorization: `Bearer ${input.accessToken}` };
  let since = ((await (await fetch("/_matrix/client/v3/sync?timeout=0", { headers })).json()) as { next_batch: string })
    .next_batch;
  while (times.length < input.count) {
    const response = await fetch(`/_matrix/client/v3/sync?timeout=20000&since=${since}`, { headers });
    const now = performance.timeOrigin + performance.now();
    const sync = (await response.json()) as {
      next_batch: string;
      rooms?: { join?: Record<string, { timeline?: { events: { content: { sent?: string } }[] } }> };
    };
    since = sync.next_batch;
    for (const room of Object.values(sync.rooms?.join ?? {})) {
      for (const event of room.timeline?.events ?? []) {
        if (event.content.sent) times.push(now - Number(event.content.sent));
      }
    }
  }
  return times;
}

/** Runs in the page: creates rooms and sends messages to each, many at once. */
async function fillRooms(input: { accessToken: string; rooms: number; messages: number }): Promise<void> {
  const headers = { Authorization: `Bearer ${input.accessToken}` };
  const ask = async (method: string, path: string, body: object): Promise<{ room_id: string }> => {
    const response = await fetch(`/_matrix/client/v3${path}`, { method, headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as { room_id: string };
  };
  for (let index = 0; index < input.rooms; index++) {
    const { room_id } = await ask("POST", "/createRoom", { name: `Room ${index}`, preset: "public_chat" });
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let at = next++; at < input.messages; at = next++) {
        const path = `/rooms/${encodeURIComponent(room_id)}/send/m.room.message/fill${index}-${at}`;
        await ask("PUT", path, { msgtype: "m.text", body: `message ${at}, of the usual length, or so` });
      }
    };
    await Promise.all(Array.from({ length: 16 }, lane));
  }
}

/** Runs in the page: an initial `/sync`. The number of joined rooms. */
async function syncRooms(accessToken: string): Promise<number> {
  const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { limit: 20 } } }));
  const headers = { Authorization: `Bearer ${accessToken}` };
  const response = await fetch(`/_matrix/client/v3/sync?timeout=0&filter=${filter}`, { headers });
  const sync = (await response.json()) as { rooms: { join: Record<string, unknown> } };
  return Object.keys(sync.rooms.join).length;
}

/**
 * Runs in the page: joins a large room, and asks for `/sync` all the while, and some times more when all members are
 * known, which is news. Times since the join was asked for until it was answered, until a `/sync` told of the room, and
 * until all members are known; and those that each `/sync` took.
 */
async function joinLarge(input: LargeRoom & { accessToken: string }): Promise<{
  answered_ms: number;
  usable_ms: number;
  complete_ms: number;
  known: number;
  syncs: number[];
}> {
  const headers = { Authorization: `Bearer ${input.accessToken}` };
  const ask = async (path: string, init: RequestInit = {}): Promise<{ status: number; body: unknown }> => {
    const response = await fetch(`/_matrix/client/v3${path}`, { headers, ...init });
    return { status: response.status, body: await response.json() };
  };
  const room = encodeURIComponent(input.room);
  const filter = encodeURIComponent(JSON.stringify({ room: { state: { lazy_load_members: true } } }));
  const syncs: number[] = [];
  const start = performance.now();
  let usable = NaN;
  let complete = NaN;
  const watch = async () => {
    let since = "";
    for (let later = 0; later < 20; later += Number.isNaN(complete) ? 0 : 1) {
      const asked = performance.now();
      const { status, body } = await ask(`/sync?timeout=0&filter=${filter}${since}`);
      if (status !== 200) throw new Error(JSON.stringify(body));
      syncs.push(performance.now() - asked);
      const sync = body as { next_batch: string; rooms?: { join?: Record<string, unknown> } };
      if (Number.isNaN(usable) && sync.rooms?.join?.[input.room]) usable = performance.now() - start;
      since = `&since=${encodeURIComponent(sync.next_batch)}`;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const join = async () => {
    const via = encodeURIComponent(input.server);
    const joined = await ask(`/join/${room}?via=${via}`, { method: "POST", body: "{}" });
    const answered_ms = performance.now() - start;
    if (joined.status !== 200) throw new Error(JSON.stringify(joined.body));
    let members = await ask(`/rooms/${room}/joined_members`);
    // Who waits in vain for as long as a request waits asks again.
    while (members.status === 404) members = await ask(`/rooms/${room}/joined_members`);
    complete = performance.now() - start;
    const known = Object.keys((members.body as { joined: Record<string, unknown> }).joined).length;
    return { answered_ms, known };
  };
  const [course] = await Promise.all([join(), watch()]);
  return { ...course, usable_ms: usable, complete_ms: complete, syncs };
}
