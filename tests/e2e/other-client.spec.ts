import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";

test("another client beside the app has the same homeserver, and no service worker of its own", async ({ profile, directory }) => {
  const client = await directory();
  await writeFile(join(client, "index.html"), "<!doctype html><title>Another</title><script>document.title += ' client'</script>");
  await writeFile(join(client, "sw.js"), "addEventListener('fetch', (event) => event.respondWith(new Response('not Matrix')));");
  const node = await Node.serve(await directory(), undefined, undefined, ["--client", client]);
  try {
    const ada = await (await profile()).open(node.url);
    await ada.welcome("Ada");
    const { accessToken, userId } = await ada.session();

    await ada.page.goto(`${node.url}/client`);
    expect(await ada.page.title()).toBe("Another client");
    const seen = await ada.page.evaluate(async (accessToken) => {
      const own = await navigator.serviceWorker.register("sw.js").then(
        () => "registered",
        () => "refused",
      );
      const headers = { Authorization: `Bearer ${accessToken}` };
      const whoami = await fetch("/_matrix/client/v3/account/whoami", { headers });
      return { own, userId: ((await whoami.json()) as { user_id: string }).user_id };
    }, accessToken);
    expect(seen).toEqual({ own: "refused", userId });
  } finally {
    await node.stop();
  }
});
