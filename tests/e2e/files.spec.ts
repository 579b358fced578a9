import { expect, test } from "../support/fixtures.ts";

test("a page shows a file in an element that cannot send its token", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  const { accessToken } = await ada.session();
  const shown = await ada.page.evaluate(async (accessToken) => {
    const canvas = new OffscreenCanvas(40, 30);
    canvas.getContext("2d")?.fillRect(0, 0, 40, 30);
    const headers = { Authorization: `Bearer ${accessToken}` };
    const body = await canvas.convertToBlob();
    const upload = await fetch("/_matrix/media/v3/upload", { method: "POST", headers, body });
    const { content_uri } = (await upload.json()) as { content_uri: string };
    const path = `/_matrix/client/v1/media/download/${content_uri.slice("mxc://".length)}`;

    const picture = new Image();
    picture.src = path;
    await picture.decode();
    const withoutToken = await fetch(path);
    return { size: [picture.naturalWidth, picture.naturalHeight], withoutToken: withoutToken.status };
  }, accessToken);
  expect(shown).toEqual({ size: [40, 30], withoutToken: 401 });
});
