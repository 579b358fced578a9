import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { kept } from "./browser.ts";
import { page, precache } from "../assets.ts";

const PAGE = new Request("https://hearth.example/");

/** A server that answers everything with `response`. */
function serve(response: Response) {
  globalThis.fetch = () => Promise.resolve(response);
}

beforeEach(() => kept.clear());

test("the page is the one of this version, whatever is served by now", async () => {
  serve(new Response("of the next version"));
  kept.set("/index.html", new Response("of this version"));
  assert.equal(await (await page(PAGE)).text(), "of this version");
});

test("a page that is not kept comes from the network", async () => {
  serve(new Response("of the network"));
  assert.equal(await (await page(PAGE)).text(), "of the network");
});

test("a page that was found by a redirect is kept as if it were none", async () => {
  serve(Object.defineProperty(new Response("the page"), "redirected", { value: true }));
  await precache();
  assert.equal(kept.get("/index.html")?.redirected, false);
  assert.equal(await kept.get("/index.html")?.text(), "the page");
});

test("a version of which a file is missing is not installed", async () => {
  serve(new Response("nothing", { status: 404 }));
  await assert.rejects(precache(), /index\.html: 404/);
});
