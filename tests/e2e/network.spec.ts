import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";

test("the chat goes on after the relay was restarted", async ({ profile, directory }) => {
  const data = await directory();
  let relay = await Node.serve(data);
  const listen = `127.0.0.1:${relay.port}`;
  try {
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    await ada.createRoom("Bad line");
    const grace = await (await profile()).open(await ada.inviteLink());
    await grace.welcome("Grace");
    await grace.send("Before");
    await expect(ada.message("Before")).toBeVisible();

    await relay.stop();
    await ada.send("Nobody hears this yet");
    relay = await Node.serve(data, listen);
    await expect(grace.message("Nobody hears this yet")).toBeVisible({ timeout: 60_000 });
    await grace.send("After");
    await expect(ada.message("After")).toBeVisible();
  } finally {
    await relay.stop();
  }
});
