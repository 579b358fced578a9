/** What every test needs: a relay that serves the app, and profiles that are removed afterwards. */
import { test as base } from "@playwright/test";
import { Node, folder } from "./node.ts";
import { Profile } from "./profile.ts";

export const test = base.extend<{ relay: Node; profile: () => Promise<Profile>; directory: () => Promise<string> }>({
  directory: async ({}, use) => {
    const made: Awaited<ReturnType<typeof folder>>[] = [];
    await use(async () => {
      const next = await folder();
      made.push(next);
      return next.path;
    });
    for (const each of made) await each.remove();
  },
  relay: async ({ directory }, use, info) => {
    const relay = await Node.serve(await directory());
    await use(relay);
    if (info.status !== info.expectedStatus) await info.attach("relay", { body: relay.output });
    await relay.stop();
  },
  profile: async ({}, use) => {
    const made: Profile[] = [];
    await use(async () => {
      const next = await Profile.create();
      made.push(next);
      return next;
    });
    for (const each of made) await each.remove();
  },
});

export { expect } from "@playwright/test";
