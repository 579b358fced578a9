/** What matrix-js-sdk shows of rooms beyond messages: threads, search, spaces. Natively and in service workers. */
import { type Homes, expect, test } from "../support/homes.ts";

const PASSWORD = "correct horse battery staple";

test("matrix-js-sdk shows threads, finds words and walks spaces: a native homeserver", async ({ native }) => {
  await session(native);
});

test("matrix-js-sdk shows threads, finds words and walks spaces: a service worker", async ({ worker }) => {
  await session(worker);
});

async function session([first, second]: Homes): Promise<void> {
  const ada = await first.page.register({ baseUrl: first.baseUrl, username: "ada", password: PASSWORD });
  const grace = await second.page.register({ baseUrl: second.baseUrl, username: "grace", password: PASSWORD });
  const { userId: graceId } = await grace.identity();
  const open = await ada.rooms.create({ invite: [graceId], encrypted: false, name: "Open" });
  const secret = await ada.rooms.create({ invite: [graceId], encrypted: true, name: "Secret" });
  for (const room of [open, secret]) {
    await expect.poll(() => grace.rooms.membership(room)).toBe("invite");
    await grace.rooms.join(room);
    await expect.poll(() => ada.rooms.members(room)).toContain(graceId);
  }

  for (const [room, kind] of [[open, "plain"], [secret, "encrypted"]] as const) {
    await test.step(`a thread of ${kind} messages`, async () => {
      const root = await ada.rooms.say(room, "Who brings cake?");
      await expect.poll(() => grace.rooms.texts(room)).toContain("Who brings cake?");
      const answer = await grace.rooms.sayInThread(room, root, "I bring cake.");
      // As people do: who answers has read. While a thread is being loaded, matrix-js-sdk counts what comes twice.
      await expect.poll(async () => (await ada.rooms.thread(room, root))?.texts).toContain("I bring cake.");
      const thanks = await ada.rooms.sayInThread(room, root, "Thank you.");
      for (const one of [ada, grace]) {
        await expect.poll(async () => (await one.rooms.thread(room, root))?.length).toBe(2);
        const answers = ["I bring cake.", "Thank you."];
        await expect.poll(async () => (await one.rooms.thread(room, root))?.texts).toEqual(expect.arrayContaining(answers));
        expect(await one.rooms.texts(room)).not.toContain("I bring cake.");
      }
      expect(await grace.rooms.threads(room)).toEqual([root]);
      expect(await grace.rooms.relations(room, root, "m.thread")).toEqual([thanks, answer]);
    });
  }

  await test.step("a search finds what its user may read, and no more", async () => {
    const own = await ada.rooms.create({ invite: [], encrypted: false, name: "Alone" });
    await ada.rooms.say(own, "No cake for anybody else");
    await expect.poll(() => ada.rooms.search("cake")).toMatchObject({ count: 3 });
    await expect.poll(async () => (await grace.rooms.search("cake")).texts.toSorted()).toEqual(["I bring cake.", "Who brings cake?"]);
    expect(await grace.rooms.search("pie")).toEqual({ count: 0, texts: [] });
  });

  await test.step("a space shows its rooms to whoever may see them", async () => {
    const space = await ada.rooms.create({ invite: [graceId], encrypted: false, name: "House", space: true });
    await ada.rooms.addToSpace(space, open);
    await ada.rooms.addToSpace(space, secret);
    expect(await ada.rooms.hierarchy(space)).toEqual(["House", "Open", "Secret"]);
    await expect.poll(() => grace.rooms.membership(space)).toBe("invite");
    await grace.rooms.join(space);
    expect(await grace.rooms.hierarchy(space)).toEqual(["House", "Open", "Secret"]);
  });
}
