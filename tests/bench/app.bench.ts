/** Figures of the app in Chromium, in one run: times in milliseconds, sizes in bytes. */
import { writeFile } from "node:fs/promises";
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

/** Runs in the page: the times of sends, one after the other. */
async function timeSends(input: { room: string; accessToken: string; count: number }): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < input.count; index++) {
    const start = performance.now();
    const response = await fetch(
      `/_matrix/client/v3/rooms/${encodeURIComponent(input.room)}/send/m.room.message/bench${index}`,
      {
        method: "PUT",
        headers: { Authorization: `Bearer ${input.accessToken}` },
        body: JSON.stringify({ msgtype: "m.text", body: `message ${index}` }),
      },
    );
    await response.text();
    if (!response.ok) throw new Error(String(response.status));
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
