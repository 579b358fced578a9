import { expect, test } from "../support/fixtures.ts";

test("an invite reaches the other browser, and its refusal comes back", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Tea");
  const room = encodeURIComponent(await ada.onlyRoom());
  const grace = await (await profile()).open(relay.url);
  await grace.welcome("Grace");
  const { userId } = await grace.session();

  await expect(async () => {
    const answer = await ada.request("POST", `/_matrix/client/v3/rooms/${room}/invite`, { user_id: userId });
    expect(answer.status).toBe(200);
  }).toPass({ timeout: 30_000 });
  const invitation = grace.page.getByRole("group", { name: "Invited to Tea" });
  await invitation.getByRole("button", { name: "Decline" }).click();
  await expect(invitation).toBeHidden();

  const membership = `/_matrix/client/v3/rooms/${room}/state/m.room.member/${encodeURIComponent(userId)}`;
  await expect
    .poll(async () => ((await ada.request("GET", membership)).body as { membership: string }).membership)
    .toBe("leave");
});
