import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "../support/fixtures.ts";

test("a browser refuses malformed frames, forged signatures and its client API to other servers", async ({
  relay,
  profile,
}) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Fortress");
  await ada.send("All quiet");
  // The link names a relay only once the browser can be reached through it.
  await ada.inviteLink();
  const room = await ada.onlyRoom();
  const { userId } = await ada.session();

  const server = userId.slice(userId.indexOf(":") + 1);
  const [address] = await relay.relays();
  const program = process.env["HEARTH_HOSTILE_PEER"] ?? "";
  const { stdout } = await promisify(execFile)(program, [address ?? "", server, room, userId]);
  const outcome = JSON.parse(stdout) as {
    malformed_frames_answered: number;
    unsigned_request: number;
    forged_request: number;
    honest_request: number;
    client_request: number;
    forged_event: { status: number; body: { pdus: Record<string, { error?: string }> } };
  };
  expect(outcome.malformed_frames_answered).toBe(0);
  expect(outcome.unsigned_request).toBe(401);
  expect(outcome.forged_request).toBe(401);
  // Nobody of that name: the signature was accepted.
  expect(outcome.honest_request).toBe(404);
  expect(outcome.client_request).toBe(404);
  expect(outcome.forged_event.status).toBe(200);
  const verdicts = Object.values(outcome.forged_event.body.pdus);
  expect(verdicts).toHaveLength(1);
  expect(verdicts[0]?.error).toBeTruthy();

  await ada.send("Still quiet");
  await expect(ada.message("forged")).toBeHidden();
  const messages = await ada.request("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=100`);
  expect(JSON.stringify(messages.body)).not.toContain("forged");
});
