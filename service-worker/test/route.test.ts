import assert from "node:assert/strict";
import { test } from "node:test";
import { relays } from "../config.ts";
import { toOtherWorker, toWorker } from "../messages.ts";
import { hurriedPoll, isRepeatable, isWaiting, route } from "../route.ts";

const ORIGIN = "https://hearth.example";

function routed(path: string, init: { method?: string; mode?: RequestMode; origin?: string } = {}) {
  const request = { url: (init.origin ?? ORIGIN) + path, method: init.method ?? "GET", mode: init.mode ?? "cors" };
  return route(request, ORIGIN, ["/index.html", "/hearth-1.wasm"]);
}

test("the homeserver answers the API, whatever the method", () => {
  assert.equal(routed("/_matrix/client/versions"), "api");
  assert.equal(routed("/_matrix/client/v3/login", { method: "POST" }), "api");
  assert.equal(routed("/.well-known/matrix/client"), "api");
  assert.equal(routed("/_hearth/status", { mode: "navigate" }), "api");
});

test("nothing of another origin, and nothing else, is intercepted", () => {
  assert.equal(routed("/_matrix/client/versions", { origin: "https://matrix.example" }), undefined);
  assert.equal(routed("/_matrixed"), undefined);
  assert.equal(routed("/config.json"), undefined);
  assert.equal(routed("/sw.js"), undefined);
  assert.equal(routed("/", { method: "POST", mode: "navigate" }), undefined);
  assert.equal(routed("/"), undefined);
  assert.equal(routed("/elsewhere/index.html", { mode: "navigate" }), undefined);
});

test("the app's page and files come from the cache's side", () => {
  assert.equal(routed("/", { mode: "navigate" }), "page");
  assert.equal(routed("/?from=home-screen", { mode: "navigate" }), "page");
  assert.equal(routed("/index.html", { mode: "navigate" }), "file");
  assert.equal(routed("/hearth-1.wasm"), "file");
  assert.equal(routed("/assets/of-the-version-before.js"), "file");
});

test("only what names its effect is asked twice", () => {
  const repeatable = (method: string, path: string) => isRepeatable({ method, url: ORIGIN + path });
  assert.ok(repeatable("GET", "/_matrix/client/v3/sync"));
  assert.ok(repeatable("PUT", "/_matrix/client/v3/rooms/!r/send/m.room.message/1"));
  assert.ok(!repeatable("POST", "/_matrix/client/v3/createRoom"));
  assert.ok(!repeatable("PUT", "/_matrix/media/v3/upload/hearth/id"));
});

test("a poll that says where it began waits for what is new", () => {
  const waits = (method: string, path: string) => isWaiting({ method, url: ORIGIN + path });
  assert.ok(waits("GET", "/_matrix/client/v3/sync?timeout=25000&since=s1%2F2"));
  assert.ok(!waits("GET", "/_matrix/client/v3/sync?timeout=25000"));
  assert.ok(waits("GET", "/_matrix/client/v3/events?from=s1_2&room_id=!r"));
  assert.ok(!waits("GET", "/_matrix/client/v3/events?room_id=!r"));
  assert.ok(!waits("GET", "/_matrix/client/v3/events/$e?from=s1_2"));
  assert.ok(!waits("POST", "/_matrix/client/v3/sync?since=s1"));
  assert.ok(!waits("GET", "/_matrix/client/v3/rooms/!r/messages?since=s1"));
});

test("a poll is hurried, whoever sends it", () => {
  const headers = { authorization: "Bearer token" };
  const hurried = (method: string, path: string) => hurriedPoll(new Request(ORIGIN + path, { method, headers }));
  const sliding = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos=1&timeout=30000";
  const sync = hurried("GET", "/_matrix/client/v3/sync?timeout=25000&since=s1%2F2");
  assert.equal(sync?.url, `${ORIGIN}/_matrix/client/v3/sync?timeout=0&since=s1%2F2`);
  assert.equal(sync?.headers.get("authorization"), "Bearer token");
  assert.equal(hurried("POST", sliding)?.url, ORIGIN + sliding.replace("30000", "0"));
  assert.equal(hurried("POST", sliding)?.method, "POST");
  assert.equal(hurried("GET", "/_matrix/client/v3/rooms/!r/messages?timeout=1"), undefined);
});

test("a configuration is taken for what of it is well-formed", () => {
  assert.deepEqual(relays({ relays: ["/ip4/127.0.0.1/tcp/1/ws", 7, null] }), ["/ip4/127.0.0.1/tcp/1/ws"]);
  for (const config of [null, 1, "relays", [], {}, { relays: "x" }]) assert.deepEqual(relays(config), []);
});

test("messages of unknown shape are ignored", () => {
  assert.deepEqual(toWorker({ type: "tick", more: 1 }), { type: "tick" });
  assert.deepEqual(toOtherWorker({ type: "handover" }), { type: "handover" });
  for (const data of [null, undefined, "tick", 1, [], {}, { type: "other" }]) {
    assert.equal(toWorker(data), undefined);
    assert.equal(toOtherWorker(data), undefined);
  }
});
