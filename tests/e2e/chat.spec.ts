import { expect, test } from "../support/fixtures.ts";
import { Matrix } from "../support/matrix.ts";
import { Node } from "../support/node.ts";

test("two browsers chat with no server between them but a relay", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Kitchen table");
  await ada.send("Is anybody there?");

  const grace = await (await profile()).open(await ada.inviteLink());
  await grace.welcome("Grace");
  await expect(grace.message("Is anybody there?")).toBeVisible();
  for (const { page } of [ada, grace]) await expect(page.getByText("2 members", { exact: true })).toBeVisible();

  await grace.send("I am.");
  await expect(ada.message("I am.")).toBeVisible();
  await ada.send("Then we need no cloud.");
  await expect(grace.message("Then we need no cloud.")).toBeVisible();

  if (process.env["HEARTH_SCREENSHOT"]) {
    await grace.page.screenshot({ path: process.env["HEARTH_SCREENSHOT"] });
  }
});

test("a browser and a native homeserver share a room", async ({ relay, profile, directory }) => {
  const homeserver = await Node.homeserver(await directory(), await relay.relays());
  try {
    const linus = await Matrix.register(homeserver.url, "linus");
    const ada = await (await profile()).open(relay.url);
    await ada.welcome("Ada");
    await ada.createRoom("Mixed company");
    await ada.send("Hello from a browser");
    const { userId } = await ada.session();
    const room = await ada.onlyRoom();

    await expect(async () => linus.join(room, userId.slice(userId.indexOf(":") + 1))).toPass({ timeout: 30_000 });
    await expect.poll(() => linus.messages(room)).toContain("Hello from a browser");
    await linus.send(room, "Hello from a native homeserver");
    await expect(ada.message("Hello from a native homeserver")).toBeVisible();
    await ada.send("And back");
    await expect.poll(() => linus.messages(room)).toContain("And back");
  } finally {
    await homeserver.stop();
  }
});
