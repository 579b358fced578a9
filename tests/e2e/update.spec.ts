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
    const { accessToken } = await ada.session();

    const sending = ada.page.evaluate(sendUntilReplaced, { room, accessToken });
    await appendFile(join(app, "sw.js"), "\n// The next release.\n");
    await ada.page.evaluate(async () => {
      await (await navigator.serviceWorker.ready).update();
    });
    const { answers, replaced } = await sending;
    expect(replaced, "the new worker took over").toBe(true);
    expect(answers.filter((answer) => answer !== 200)).toEqual([]);
    const page = (await ada.request("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=1000`))
      .body as { chunk: { content: { body?: string } }[] };
    const stored = page.chunk.map((event) => event.content.body).filter((body) => body?.startsWith("brick"));
    expect(stored.sort()).toEqual(answers.map((_, index) => `brick ${index}`).sort());
  } finally {
    await relay.stop();
  }
});

/**
 * Runs in the page: sends without a pause while the new version is installed, then at a person's pace until another worker
 * controls the page, and a little longer. Never repeats a request.
 */
async function sendUntilReplaced(input: { room: string; accessToken: string }) {
  const answers: number[] = [];
  let replaced = false;
  navigator.serviceWorker.addEventListener("controllerchange", () => (replaced = true));
  const send = async (pause: number) => {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(input.room)}/send/m.room.message/brick${answers.length}`;
    const response = await fetch(path, {
      method: "PUT",
      headers: { Authorization: `Bearer ${input.accessToken}` },
      body: JSON.stringify({ msgtype: "m.text", body: `brick ${answers.length}` }),
    }).catch(() => undefined);
    answers.push(response?.status ?? 0);
    await new Promise((resolve) => setTimeout(resolve, pause));
  };
  for (let count = 0; count < 150; count++) await send(0);
  for (let count = 0; count < 200 && !replaced; count++) await send(250);
  for (let count = 0; count < 20; count++) await send(0);
  return { answers, replaced };
}
