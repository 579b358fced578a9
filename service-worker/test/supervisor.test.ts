import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { locks, registration } from "./browser.ts";
import { Supervisor } from "../boot.ts";
import { asked, started } from "./bindings.ts";

const SYNC = "https://hearth.example/_matrix/client/v3/sync?since=s1&timeout=30000";

beforeEach(() => {
  asked.length = started.length = 0;
  registration.waiting = null;
});

/** Waits until `found` says something. */
async function until<T>(found: () => T | undefined): Promise<T> {
  for (;;) {
    const value = found();
    if (value !== undefined) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const text = async (answer: Promise<Response>) => (await answer).text();

test("a poll under way is asked once more, without waiting, when a newer version comes to wait", async () => {
  const supervisor = new Supervisor(() => {});
  const answer = supervisor.answer(new Request(SYNC));
  await until(() => asked[0]);
  supervisor.yield();
  supervisor.yield();
  const hurried = await until(() => asked[1]);
  assert.equal(new URL(hurried.request.url).search, "?since=s1&timeout=0");
  hurried.answer("nothing new, and 50 keys");
  assert.equal(await text(answer), "nothing new, and 50 keys");
  assert.equal(asked.length, 2);
});

test("while a newer version waits polls are answered by the homeserver, at once and together", async () => {
  const supervisor = new Supervisor(() => {});
  registration.waiting = {};
  const answers = [supervisor.answer(new Request(SYNC)), supervisor.answer(new Request(SYNC))];
  await until(() => asked[1]);
  for (const { request, answer } of asked) {
    assert.equal(new URL(request.url).search, "?since=s1&timeout=0");
    answer("news");
  }
  assert.deepEqual(await Promise.all(answers.map(text)), ["news", "news"]);
});

test("whose lock was stolen ends at once, with requests under way, and for good", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const supervisor = new Supervisor(() => {});
  const request = new Request("https://hearth.example/_matrix/client/v3/createRoom", { method: "POST", body: "{}" });
  const answer = supervisor.answer(request.clone());
  await until(() => asked[0]);
  locks.steal();
  assert.equal((await answer).status, 500);
  assert.ok(started[0]?.config.death.aborted);
  assert.match(await text(supervisor.answer(request)), /a newer version took over/);
  assert.equal(started.length, 1);
});

test("a homeserver that lost its database is started anew", async () => {
  const reasons: string[] = [];
  const supervisor = new Supervisor((reason) => reasons.push(reason));
  const answer = supervisor.answer(new Request("https://hearth.example/_matrix/client/versions"));
  await until(() => asked[0]);
  started[0]?.config.onLost("the database was deleted", "");
  (await until(() => asked[1])).answer("again");
  assert.equal(await text(answer), "again");
  assert.equal(started.length, 2);
  assert.deepEqual(reasons, ["the database was deleted"]);
});

test("the databases of a homeserver that is lost are closed, also one that opens later", async () => {
  const supervisor = new Supervisor(() => {});
  void supervisor.answer(new Request("https://hearth.example/_matrix/client/versions"));
  await until(() => asked[0]);
  const [before, after] = [started[0]?.indexedDB.open("hearth"), started[0]?.indexedDB.open("hearth")];
  before?.succeed();
  assert.equal(before?.result.isOpen, true);
  started[0]?.config.onLost("panic", "");
  assert.equal(before?.result.isOpen, false);
  after?.succeed();
  assert.equal(after?.result.isOpen, false);
});

test("while a page is open the configuration is read again every minute, and given up if it does not come", async (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: Date.parse("2026-01-01") });
  const read: (AbortSignal | null | undefined)[] = [];
  context.mock.method(globalThis, "fetch", (path: string, options?: RequestInit) => {
    if (path !== "/config.json") return Promise.resolve(new Response());
    read.push(options?.signal);
    return Promise.resolve(Response.json({ relays: [] }));
  });
  const supervisor = new Supervisor(() => {});
  const tick = async () => {
    read.length = 0;
    await supervisor.tick();
    await new Promise((resolve) => setImmediate(resolve));
    return read.length;
  };
  await tick();
  assert.equal(await tick(), 0);
  context.mock.timers.tick(60_000);
  assert.equal(await tick(), 1);
  assert.ok(read[0] instanceof AbortSignal);
  context.mock.timers.setTime(Date.parse("2025-01-01"));
  assert.equal(await tick(), 1);
});
