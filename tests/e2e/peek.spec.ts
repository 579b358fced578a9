/** matrix-js-sdk reads a room that it does not join, at a native homeserver. */
import { expect, test } from "../support/homes.ts";

const PASSWORD = "correct horse battery staple";

test("matrix-js-sdk peeks", async ({ native: [first, second] }) => {
  const ada = await first.page.register({ baseUrl: first.baseUrl, username: "ada", password: PASSWORD });
  const grace = await second.page.register({ baseUrl: second.baseUrl, username: "grace", password: PASSWORD });
  const room = await ada.rooms.create({ invite: [], encrypted: false, name: "Aquarium" });
  await ada.rooms.say(room, "Nobody outside can read this");
  await expect(grace.rooms.peek(room)).rejects.toThrow("[403]");

  await ada.rooms.show(room);
  const fish = Array.from({ length: 30 }, (_, number) => `Fish ${number}`);
  for (const name of fish) await ada.rooms.say(room, name);
  await grace.rooms.peek(room);
  expect(await grace.rooms.name(room)).toBe("Aquarium");
  expect(await grace.rooms.members(room)).toEqual([(await ada.identity()).userId]);
  expect(await grace.rooms.texts(room)).toEqual(fish.slice(-20));

  await test.step("what happens is told as it comes", async () => {
    // The SDK begins to listen without saying from where: what comes before its request is not told.
    await expect
      .poll(async () => {
        await ada.rooms.say(room, "Can you see me?");
        return grace.rooms.texts(room);
      })
      .toContain("Can you see me?");
    const sharks = ["White", "Blue", "Basking"];
    for (const shark of sharks) await ada.rooms.say(room, shark);
    await expect.poll(async () => (await grace.rooms.texts(room)).slice(-3)).toEqual(sharks);
  });

  await test.step("what was before is paged over, as far as it may be seen", async () => {
    await grace.rooms.loadAll(room);
    expect((await grace.rooms.texts(room)).slice(0, 30)).toEqual(fish);
  });
});
