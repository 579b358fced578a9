import { appendFile, cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { App } from "../support/app.ts";
import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";

/** Serves a copy of the app; `release` makes another version of it, and has the browser of `ada` find it. */
async function serve(data: string, app: string): Promise<{ relay: Node; release: (ada: App) => Promise<void> }> {
  await cp(process.env["HEARTH_APP"] ?? "", app, { recursive: true });
  const relay = await Node.serve(data, "127.0.0.1:0", app);
  const release = async (ada: App) => {
    await appendFile(join(app, "sw.js"), "\n// The next release.\n");
    await rm(join(app, "sw.js.br"));
    await ada.page.evaluate(async () => {
      await (await navigator.serviceWorker.ready).update();
    });
  };
  return { relay, release };
}

/** Keeps the worker busy for a minute, with a poll that nobody can cut short and nothing ends. */
async function occupy(ada: App): Promise<void> {
  const path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
  const first = await ada.request("POST", path, {});
  const { pos } = first.body as { pos: string };
  const { accessToken } = await ada.session();
  await ada.page.evaluate(
    ([path, accessToken]) => {
      const headers = { Authorization: `Bearer ${accessToken}` };
      void fetch(path, { method: "POST", headers, body: "{}" }).catch(() => undefined);
    },
    [`${path}?timeout=60000&pos=${encodeURIComponent(pos)}`, accessToken] as const,
  );
}

const isWaiting = (ada: App) =>
  ada.page.evaluate(async () => (await navigator.serviceWorker.ready).waiting?.state === "installed");

test("a new version takes over without losing a request", async ({ profile, directory }) => {
  const { relay, release } = await serve(await directory(), await directory());
  try {
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    await ada.createRoom("Renovation");
    const room = await ada.onlyRoom();
    await ada.page.evaluate(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => (document.title = "replaced"), { once: true });
    });

    await release(ada);
    let sent = 0;
    const isReplaced = () => ada.page.evaluate(() => document.title === "replaced");
    while (sent < 100 && !(await isReplaced())) await ada.send(`brick ${sent++}`);
    expect(await isReplaced(), "the new worker took over").toBe(true);
    for (let more = 0; more < 5; more++) await ada.send(`brick ${sent++}`);

    const bricks = Array.from({ length: sent }, (_, index) => `brick ${index}`);
    await expect
      .poll(async () => {
        const path = `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=1000`;
        const page = (await ada.request("GET", path)).body as { chunk: { content: { body?: string } }[] };
        return page.chunk.flatMap(({ content }) => (content.body?.startsWith("brick") ? [content.body] : [])).reverse();
      })
      .toEqual(bricks);
  } finally {
    await relay.stop();
  }
});

test("messages arrive while a new version waits to take over", async ({ profile, directory }) => {
  const { relay, release } = await serve(await directory(), await directory());
  try {
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    await ada.createRoom("Renovation");
    const room = encodeURIComponent(await ada.onlyRoom());
    const sync = (query: string) => ada.request("GET", `/_matrix/client/v3/sync?${query}`);
    await occupy(ada);
    await release(ada);
    await expect.poll(() => isWaiting(ada)).toBe(true);

    for (const brick of ["one", "two", "three"]) {
      const { next_batch: since } = (await sync("timeout=0")).body as { next_batch: string };
      await ada.request("PUT", `/_matrix/client/v3/rooms/${room}/send/m.room.message/${brick}`, { msgtype: "m.text", body: brick });
      const news = await sync(`timeout=30000&since=${encodeURIComponent(since)}`);
      expect(JSON.stringify(news.body)).toContain(brick);
    }
    expect(await isWaiting(ada), "it waited all the time").toBe(true);
  } finally {
    await relay.stop();
  }
});

test("a version that waits is not retired by the takeover of another", async ({ profile, directory }) => {
  const { relay, release } = await serve(await directory(), await directory());
  try {
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    await occupy(ada);
    await ada.page.evaluate(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => (document.body.dataset["worker"] = "new"), { once: true });
    });
    await release(ada);
    await expect.poll(() => isWaiting(ada)).toBe(true);

    // What a third version says to the first one while the second is still to take over.
    await ada.page.evaluate(() => new BroadcastChannel("hearth").postMessage({ type: "handover" }));
    await expect.poll(() => ada.page.evaluate(() => document.body.dataset["worker"])).toBe("new");
    expect((await ada.request("GET", "/_matrix/client/v3/account/whoami")).status).toBe(200);
  } finally {
    await relay.stop();
  }
});

test("the page is of the worker's version: the old one until all of the next release is there", async ({ profile, directory }) => {
  const files = await directory();
  const { relay } = await serve(await directory(), files);
  try {
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    const greeting = ada.page.getByRole("heading", { name: "Hello, Ada" });
    const isNext = ada.page.locator("meta[name=release]");
    const replace = async (name: string, text: string) => {
      await writeFile(join(files, name), text);
      await rm(join(files, `${name}.br`), { force: true });
    };

    // The next release's page is served before what it needs.
    const page = await readFile(join(files, "index.html"), "utf8");
    const [script = ""] = /\/assets\/index-[^"]+\.js/.exec(page) ?? [];
    const nextPage = page.replace(script, "/assets/next.js").replace("</head>", '<meta name="release" content="next" /></head>');
    await replace("index.html", nextPage);
    await ada.page.reload();
    await expect(greeting).toBeVisible();
    await expect(isNext).not.toBeAttached();

    await rename(join(files, script), join(files, "assets/next.js"));
    const worker = await readFile(join(files, "sw.js"), "utf8");
    const nextWorker = worker.replaceAll(script, "/assets/next.js").replace(/\d+\.\d+\.\d+\+[0-9a-f]{8}/g, "$&-next");
    await replace("sw.js", nextWorker);
    // The page that is opened finds the new worker, and offers to follow it.
    await ada.page.reload();
    await ada.page.getByRole("button", { name: "Reload" }).click();
    await expect(isNext).toBeAttached();
    await expect(greeting).toBeVisible();
  } finally {
    await relay.stop();
  }
});
