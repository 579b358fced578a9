import assert from "node:assert/strict";
import { test } from "node:test";
import { Tokens } from "../tokens.ts";

const ORIGIN = "https://hearth.example";
const FILE = "/_matrix/client/v1/media/download/hearth/picture";

/** A request as a browser makes it: the constructor's never has a destination. */
function request(path: string, destination: RequestDestination = "", token?: string): Request {
  const headers = token === undefined ? {} : { Authorization: token };
  return Object.defineProperty(new Request(ORIGIN + path, { headers }), "destination", { value: destination });
}

test("an element's file is asked for with the token of its page", () => {
  const tokens = new Tokens();
  const sent = (page: string, path: string, destination?: RequestDestination) =>
    tokens.add(page, request(path, destination)).headers.get("Authorization");
  assert.equal(sent("ada", FILE, "image"), null);
  tokens.add("ada", request("/_matrix/client/v3/sync", "", "Bearer old"));
  tokens.add("ada", request("/_matrix/client/v3/sync", "", "Bearer ada"));
  tokens.add("grace", request("/_matrix/client/v3/sync", "", "Bearer grace"));
  assert.equal(sent("ada", FILE, "image"), "Bearer ada");
  assert.equal(sent("ada", "/_matrix/client/v1/media/thumbnail/hearth/picture?width=32", "video"), "Bearer ada");
  assert.equal(sent("grace", FILE, "audio"), "Bearer grace");

  assert.equal(sent("mallory", FILE, "image"), null);
  assert.equal(sent("ada", FILE), null);
  assert.equal(sent("ada", FILE, "iframe"), null);
  assert.equal(sent("ada", "/_matrix/client/v3/sync", "image"), null);
});

test("what the element asks for is kept", () => {
  const tokens = new Tokens();
  tokens.add("ada", request("/_matrix/client/v3/sync", "", "Bearer ada"));
  const part = request(`${FILE}?allow_redirect=true`, "video");
  part.headers.set("Range", "bytes=0-99");
  const sent = tokens.add("ada", part);
  assert.equal(sent.url, ORIGIN + FILE + "?allow_redirect=true");
  assert.equal(sent.headers.get("Range"), "bytes=0-99");
});

test("the pages that asked last are remembered", () => {
  const tokens = new Tokens();
  const knows = (page: string) => tokens.add(page, request(FILE, "image")).headers.has("Authorization");
  const ask = (page: string) => tokens.add(page, request("/_matrix/client/v3/sync", "", `Bearer ${page}`));
  for (let page = 0; page < 100; page++) ask(String(page));
  ask("0");
  ask("100");
  assert.ok(knows("0"));
  assert.ok(!knows("1"));
  assert.ok(knows("100"));
});
