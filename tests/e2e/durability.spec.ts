import { expect, test } from "../support/fixtures.ts";
import type { App } from "../support/app.ts";

test("everything is there after a reload and after closing the browser", async ({ relay, profile }) => {
  const browser = await profile();
  let ada = await browser.open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Diary");
  await ada.send("Day one");
  await ada.page.reload();
  await ada.page.getByText("Diary").first().click();
  await expect(ada.message("Day one")).toBeVisible();

  await browser.close();
  ada = await browser.open(relay.url);
  await ada.page.getByText("Diary").first().click();
  await expect(ada.message("Day one")).toBeVisible();
  await ada.send("Day two");
});

test("a message sent while the other browser was closed arrives when it comes back", async ({ relay, profile }) => {
  const browser = await profile();
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Letters");
  let grace = await browser.open(await ada.inviteLink());
  await grace.welcome("Grace");
  await grace.send("Good night");
  await expect(ada.message("Good night")).toBeVisible();

  await browser.close();
  await ada.send("You will read this tomorrow");
  grace = await browser.open(relay.url);
  await grace.page.getByText("Letters").first().click();
  await expect(grace.message("You will read this tomorrow")).toBeVisible();
});

test("a worker killed in the middle of sends loses nothing that it acknowledged", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Storm");
  const room = await ada.onlyRoom();
  const { accessToken } = await ada.session();

  const sending = ada.page.evaluate(sendUntilAcknowledged, { room, accessToken, count: 400 });
  const kills: { from: number; to: number }[] = [];
  for (let kill = 0; kill < 4; kill++) {
    await ada.page.waitForTimeout(100 + 50 * kill);
    const from = Date.now();
    await ada.killWorker();
    kills.push({ from, to: Date.now() });
  }
  const { acknowledged, times } = await sending;
  expect(acknowledged).toHaveLength(400);
  // Chromium hands a request whose worker died to the next one, so the page sees no failure.
  const interrupted = kills.filter(({ from, to }) => times.some((sent) => sent.from < from && sent.to > to));
  expect(interrupted.length, "no kill hit a send in flight").toBeGreaterThan(0);
  const status = (await ada.request("GET", "/_hearth/status")).body as { started_ms: number };
  expect(status.started_ms, "no worker was killed").toBeGreaterThan(kills[0]?.from ?? Infinity);

  const stored = await allMessages(ada, room);
  for (const [index, eventId] of acknowledged.entries()) {
    expect(stored.filter((event) => event.content.body === `message ${index}`).map((event) => event.event_id)).toEqual([
      eventId,
    ]);
  }
});

test("a worker killed in the middle of a long-poll loses no event", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Waiting room");
  const room = await ada.onlyRoom();
  const first = (await ada.request("GET", "/_matrix/client/v3/sync?timeout=0")).body as { next_batch: string };

  const poll = ada
    .request("GET", `/_matrix/client/v3/sync?timeout=20000&since=${first.next_batch}`)
    .catch((error: unknown) => error);
  await ada.page.waitForTimeout(300);
  await ada.killWorker();
  await ada.request("PUT", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/send/m.room.message/after-kill`, {
    msgtype: "m.text",
    body: "after the kill",
  });
  await poll;
  const next = await ada.request("GET", `/_matrix/client/v3/sync?timeout=0&since=${first.next_batch}`);
  expect(JSON.stringify(next.body)).toContain("after the kill");
  await expect(ada.message("after the kill")).toBeVisible();
});

/** Runs in the page: eight at a time, sends with fixed transaction ids, again and again until each is acknowledged. */
async function sendUntilAcknowledged(input: { room: string; accessToken: string; count: number }) {
  const acknowledged: string[] = [];
  const times: { from: number; to: number }[] = [];
  let failures = 0;
  let next = 0;
  const send = async (index: number): Promise<string> => {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(input.room)}/send/m.room.message/storm${index}`;
    for (;;) {
      try {
        const response = await fetch(path, {
          method: "PUT",
          headers: { Authorization: `Bearer ${input.accessToken}` },
          body: JSON.stringify({ msgtype: "m.text", body: `message ${index}` }),
        });
        if (!response.ok) throw new Error(String(response.status));
        return ((await response.json()) as { event_id: string }).event_id;
      } catch {
        failures++;
        if (failures > 1_000) throw new Error("the worker does not come back");
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const lane = async () => {
    while (next < input.count) {
      const index = next++;
      const from = Date.now();
      acknowledged[index] = await send(index);
      times.push({ from, to: Date.now() });
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return { acknowledged, times };
}

interface Message {
  event_id: string;
  type: string;
  content: { body?: string };
}

/** Every event of the room, by paging backwards to its start. */
async function allMessages(app: App, room: string): Promise<Message[]> {
  const found: Message[] = [];
  let from = "";
  for (;;) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=50${from}`;
    const page = (await app.request("GET", path)).body as { chunk: Message[]; end?: string };
    found.push(...page.chunk);
    if (!page.end || page.chunk.length === 0) return found;
    from = `&from=${page.end}`;
  }
}
