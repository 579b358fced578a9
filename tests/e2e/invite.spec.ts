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

test("a room that is not public is joined by whom somebody invites in the app", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Tea");
  const room = encodeURIComponent(await ada.onlyRoom());
  await ada.request("PUT", `/_matrix/client/v3/rooms/${room}/state/m.room.join_rules/`, { join_rule: "invite" });
  const grace = await (await profile()).open(relay.url);
  await grace.welcome("Grace");
  const { userId } = await grace.session();

  await ada.page.getByRole("button", { name: "Invite", exact: true }).click();
  const dialog = ada.page.getByRole("dialog");
  const box = dialog.getByRole("textbox", { name: "User id" });
  await box.fill("Grace");
  await box.press("Enter");
  await expect(dialog.getByText("This is no user id.")).toBeVisible();
  await box.fill(userId);
  await expect(async () => {
    // Until the two servers have found each other.
    if (await box.isVisible()) await box.press("Enter", { timeout: 1_000 });
    await expect(dialog).toBeHidden({ timeout: 2_000 });
  }).toPass({ timeout: 30_000 });

  await grace.page.getByRole("group", { name: "Invited to Tea" }).getByRole("button", { name: "Accept" }).click();
  await expect(grace.composer).toBeVisible();
});
