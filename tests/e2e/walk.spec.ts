/**
 * Every endpoint that clients need, called well and badly, and every answer held against the specification's document: of
 * `hearth-node homeserver`, and of the service worker, asked by a page's `fetch`.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";
import { AREAS } from "../walk/areas.ts";
import { type Transport, exchange } from "../walk/exchange.ts";
import { specification } from "../walk/specification.ts";
import { Walk } from "../walk/walk.ts";

/** What cannot be called where there is no TURN server, as in a browser. */
const TURN = "GET /_matrix/client/v3/voip/turnServer";

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
  const secret = join(await directory(), "secret");
  await writeFile(secret, "shared\n");
  const turn = ["--turn", "turn:turn.example:3478?transport=udp", "--turn-secret", secret];
  const homeserver = await Node.homeserver(await directory(), [], ["--no-rate-limits", ...turn]);
  try {
    await walk(exchange, homeserver.url, true);
  } finally {
    await homeserver.stop();
  }
});

test("every endpoint: a service worker, through fetch", async ({ relay, profile }) => {
  const { page } = await (await profile()).open(relay.url);
  await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await walk((request) => page.evaluate(exchange, request), relay.url, false);
});

async function walk(transport: Transport, url: string, hasTurn: boolean): Promise<void> {
  const known = await specification();
  test.skip(!known, "the specification is neither in HEARTH_SPEC_DIR nor beside the project, nor can it be fetched");
  if (!known) return;
  const walk = new Walk(transport, url, known, hasTurn);
  for (const [area, visit] of Object.entries(AREAS)) await test.step(area, () => visit(walk));
  if (!known.rows) test.info().annotations.push({ type: "no endpoints.csv", description: "nobody knows if all were called" });
  expect(walk.problems).toEqual([]);
  expect(walk.left()).toEqual(known.rows && !hasTurn ? [TURN] : []);
  expect(walk.unmet()).toEqual(known.rows ? WITHOUT_REFUSAL : []);
}
