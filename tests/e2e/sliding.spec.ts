/** matrix-js-sdk with its sliding sync, beside a client with the other one, at a native homeserver. */
import { expect, test } from "../support/homes.ts";

const PASSWORD = "correct horse battery staple";

test("matrix-js-sdk slides", async ({ native: [first, second] }) => {
  const ada = await first.page.register({ baseUrl: first.baseUrl, username: "ada", password: PASSWORD });
  const account = { baseUrl: second.baseUrl, username: "grace", password: PASSWORD, sliding: true };
  const grace = await second.page.register(account);
  const { userId } = await grace.identity();

  const enter = async (name: string, encrypted: boolean): Promise<string> => {
    const room = await ada.rooms.create({ invite: [userId], encrypted, name });
    await expect.poll(() => grace.rooms.membership(room)).toBe("invite");
    await grace.rooms.join(room);
    await expect.poll(() => ada.rooms.members(room)).toContain(userId);
    return room;
  };

  const secret = await enter("Secret", true);
  await test.step("an open room is read and written in, with its keys", async () => {
    await grace.sliding?.open([secret]);
    await ada.rooms.say(secret, "Can you read this?");
    await expect.poll(() => grace.rooms.texts(secret)).toContain("Can you read this?");
    await grace.rooms.say(secret, "Nobody else can.");
    await expect.poll(() => ada.rooms.texts(secret)).toContain("Nobody else can.");
  });

  const other = await enter("Other", false);
  await ada.rooms.say(other, "This is the newest room now");
  await expect.poll(() => grace.rooms.texts(other)).toContain("This is the newest room now");
  await expect.poll(() => grace.sliding?.count()).toBe(2);

  await test.step("a room stays open outside the window, although it is asked for once", async () => {
    for (const name of ["Renamed", "Renamed again"]) {
      await ada.rooms.rename(secret, name);
      await expect.poll(() => grace.rooms.name(secret)).toBe(name);
    }
  });

  await test.step("a room that is closed is told of no more", async () => {
    await grace.sliding?.open([]);
    await ada.rooms.say(other, "Close the door");
    await expect.poll(() => grace.rooms.texts(other)).toContain("Close the door");
    await ada.rooms.rename(secret, "Behind the door");
    await ada.rooms.say(other, "Did you hear?");
    await expect.poll(() => grace.rooms.texts(other)).toContain("Did you hear?");
    expect(await grace.rooms.name(secret)).toBe("Renamed again");
  });
});
