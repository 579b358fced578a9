/** Two homes for two users of matrix-js-sdk: a native homeserver over HTTP, one service worker, or two that federate. */
import { join } from "node:path";
import { ClientPage, writeClient } from "./sdk.ts";
import { test as base } from "./fixtures.ts";
import { Node } from "./node.ts";
import type { Profile } from "./profile.ts";

/** Of a page that has no homeserver of its own. */
const ORIGIN = "http://localhost:1";

/** Where one user's clients run, and the homeserver that they use. */
export interface Home {
  page: ClientPage;
  baseUrl: string;
}

export type Homes = readonly [Home, Home];

export const test = base.extend<{ app: Node; native: Homes; worker: Homes; workers: Homes }>({
  // The app, with the client beside it.
  app: async ({ directory }, use) => {
    const files = await directory();
    await writeClient(files, process.env["HEARTH_APP"]);
    const app = await Node.serve(await directory(), "127.0.0.1:0", files);
    await use(app);
    await app.stop();
  },
  native: async ({ page, directory }, use) => {
    const files = await directory();
    await writeClient(files);
    const homeserver = await Node.homeserver(await directory(), []);
    await page.route(`${ORIGIN}/**`, (route) => {
      return route.fulfill({ path: join(files, new URL(route.request().url()).pathname) });
    });
    // Chromium asks its user whether such a page may reach this machine.
    await page.context().grantPermissions(["local-network-access"]);
    await page.goto(`${ORIGIN}/client/index.html`);
    const home = { page: await ClientPage.load(page), baseUrl: homeserver.url };
    await use([home, home]);
    await homeserver.stop();
  },
  worker: async ({ app, profile }, use) => {
    const home = await inWorker(await profile(), app.url);
    await use([home, home]);
  },
  workers: async ({ app, profile }, use) => {
    await use([await inWorker(await profile(), app.url), await inWorker(await profile(), app.url)]);
  },
});

/** A homeserver in a service worker, and a page beside the app that uses it. */
async function inWorker(profile: Profile, url: string): Promise<Home> {
  const app = await profile.open(url);
  await app.welcome("Landlord");
  // The worker leaves pages that it does not know to the network, and answers their requests.
  await app.page.goto(`${url}/client/index.html`);
  return { page: await ClientPage.load(app.page), baseUrl: url };
}

export { expect } from "./fixtures.ts";
