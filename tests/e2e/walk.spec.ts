/**
 * Every endpoint that clients need, called well and badly, and every answer held against the specification's document: of
 * `hearth-node homeserver`, and of the service worker, asked by a page's `fetch`.
 */
import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";
import { AREAS } from "../walk/areas.ts";
import { type Transport, exchange } from "../walk/exchange.ts";
import { specification } from "../walk/specification.ts";
import { Walk } from "../walk/walk.ts";

/** What no call of a walk can do well, and why. */
const WITHOUT_SUCCESS = [
  // Nobody set up a TURN server.
  "GET /_matrix/client/v3/voip/turnServer",
];

/** Refusals that the specification knows and a walk does not meet, and why. */
const WITHOUT_REFUSAL = [
  // Nobody has a quota, and the limit is tested where it can be lowered.
  "403 POST /_matrix/media/v3/upload",
  "413 POST /_matrix/media/v3/upload",
  // One can always log in with a password.
  "404 GET /_matrix/client/v3/login",
  // Whom one may not see cannot be told from whom there is not.
  "404 GET /_matrix/client/v3/presence/{userId}/status",
  // Profiles are public.
  "403 GET /_matrix/client/v3/profile/{userId}/{keyName}",
  "403 GET /_matrix/client/v3/profile/{userId}",
  // The homeserver knows its address.
  "404 GET /.well-known/matrix/client",
  // There are no application services.
  "403 GET /_matrix/client/v3/account/whoami",
  // As above.
  "403 POST /_matrix/media/r0/upload",
  "413 POST /_matrix/media/r0/upload",
];

test("every endpoint: a native homeserver", async ({ directory }) => {
  const homeserver = await Node.homeserver(await directory(), [], ["--no-rate-limits"]);
  try {
    await walk(exchange, homeserver.url);
  } finally {
    await homeserver.stop();
  }
});

test("every endpoint: a service worker, through fetch", async ({ relay, profile }) => {
  const { page } = await (await profile()).open(relay.url);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await walk((request) => page.evaluate(exchange, request), relay.url);
});

async function walk(transport: Transport, url: string): Promise<void> {
  const known = await specification();
  test.skip(!known, "the specification is neither in HEARTH_SPEC_DIR nor beside the project, nor can it be fetched");
  if (!known) return;
  const walk = new Walk(transport, url, known);
  for (const [area, visit] of Object.entries(AREAS)) await test.step(area, () => visit(walk));
  if (!known.rows) test.info().annotations.push({ type: "no endpoints.csv", description: "nobody knows if all were called" });
  expect(walk.problems).toEqual([]);
  expect(walk.left()).toEqual(known.rows ? WITHOUT_SUCCESS : []);
  expect(walk.unmet()).toEqual(known.rows ? WITHOUT_REFUSAL : []);
}
