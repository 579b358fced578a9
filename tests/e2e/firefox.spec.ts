import { Firefox, executablePath } from "../support/firefox.ts";
import { test as base, expect } from "../support/fixtures.ts";

const test = base.extend<{ firefox: Firefox }>({
  firefox: async ({}, use) => {
    const firefox = await Firefox.create();
    await use(firefox);
    await firefox.remove();
  },
});

test.skip(!executablePath, "no Firefox was found");

test("a Firefox and a Chromium chat", async ({ relay, firefox, profile }) => {
  await firefox.open(relay.url);
  await firefox.welcome("Ada");
  await firefox.createRoom("Kitchen table");
  await firefox.send("Is anybody there?");

  const grace = await (await profile()).open(await firefox.inviteLink());
  await grace.welcome("Grace");
  await expect(grace.message("Is anybody there?")).toBeVisible();
  await grace.send("I am.");
  await firefox.sees("I am.");

  await firefox.close();
  await grace.send("Are you still?");
  await firefox.open(`${relay.url}/#/room/${encodeURIComponent(await grace.onlyRoom())}`);
  await firefox.sees("Are you still?");
});

test("Firefox stops the worker and starts it again, and nothing is lost", async ({ relay, firefox }) => {
  await firefox.open(relay.url);
  await firefox.welcome("Ada");
  await firefox.createRoom("Diary");
  await firefox.send("Dear diary");
  const room = firefox.page.url();
  const instance = await firefox.instance();
  await firefox.open("about:blank");

  await new Promise((resolve) => setTimeout(resolve, 4_000));
  await firefox.open(room);
  await firefox.sees("Dear diary");
  expect(await firefox.instance()).not.toBe(instance);
  await firefox.send("and again");
});

test("Firefox uploads, makes thumbnails and downloads", async ({ relay, firefox }) => {
  await firefox.open(relay.url);
  await firefox.welcome("Ada");
  const seen = await firefox.page.evaluate(async () => {
    const auth = JSON.stringify({ auth: { type: "m.login.dummy" } });
    const register = await fetch("/_matrix/client/v3/register", { method: "POST", body: auth });
    const { access_token } = (await register.json()) as { access_token: string };
    const headers = { Authorization: `Bearer ${access_token}` };
    const canvas = new OffscreenCanvas(400, 300);
    canvas.getContext("2d")?.fillRect(20, 20, 300, 200);
    const picture = await canvas.convertToBlob();
    const upload = await fetch("/_matrix/media/v3/upload", { method: "POST", headers, body: picture });
    const { content_uri } = (await upload.json()) as { content_uri: string };
    const path = content_uri.slice("mxc://".length);
    const download = await fetch(`/_matrix/client/v1/media/download/${path}`, { headers });
    const thumbnail = await fetch(`/_matrix/client/v1/media/thumbnail/${path}?width=32&height=32&method=crop`, { headers });
    const { width, height } = await createImageBitmap(await thumbnail.blob());
    const same = new Uint8Array(await picture.arrayBuffer()).join() === new Uint8Array(await download.arrayBuffer()).join();
    return { same, width, height };
  });
  expect(seen).toEqual({ same: true, width: 32, height: 32 });
});
