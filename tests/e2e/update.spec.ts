import { appendFile, cp } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";

test("a new version takes over without losing a request", async ({ profile, directory }) => {
  const app = await directory();
  await cp(process.env["HEARTH_APP"] ?? "", app, { recursive: true });
  const relay = await Node.serve(await directory(), "127.0.0.1:0", app);
  try {
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    await ada.createRoom("Renovation");
    const room = await ada.onlyRoom();
    await ada.page.evaluate(() => {
      navigator.serviceWorker.addEventListener("controllerchange", () => (document.title = "replaced"), { once: true });
    });

    await appendFile(join(app, "sw.js"), "\n// The next release.\n");
    await ada.page.evaluate(async () => {
      await (await navigator.serviceWorker.ready).update();
    });
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
