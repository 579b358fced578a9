/**
 * matrix-js-sdk with Rust crypto in a session of two users with several devices. The same session runs against the
 * homeserver as a native process, in a service worker, and in two service workers that federate through a relay.
 */
import { type Homes, expect, test } from "../support/homes.ts";
import type { RemoteClient } from "../support/sdk.ts";

const PASSWORD = "correct horse battery staple";

test("matrix-js-sdk encrypts: a native homeserver", async ({ native }) => {
  await session(native);
});

test("matrix-js-sdk encrypts: two users of one service worker", async ({ worker }) => {
  await session(worker);
});

test("matrix-js-sdk encrypts: two service workers", async ({ workers }) => {
  await session(workers);
});

async function session([first, second]: Homes): Promise<void> {
  const account = { baseUrl: first.baseUrl, username: "ada", password: PASSWORD };
  const ada = await first.page.register(account);
  const grace = await second.page.register({ baseUrl: second.baseUrl, username: "grace", password: PASSWORD });
  const { userId: adaId } = await ada.identity();
  const { userId: graceId } = await grace.identity();

  await test.step("cross-signing keys are made, and replaced only by who knows the password", async () => {
    expect(await ada.makeCrossSigningKeys()).toBe(0);
    expect(await grace.makeCrossSigningKeys()).toBe(0);
    // Somebody else does this: what the SDK hears of its old keys meanwhile may make it forget the new ones.
    const third = await first.page.register({ baseUrl: first.baseUrl, username: "forgetful", password: PASSWORD });
    expect(await third.makeCrossSigningKeys()).toBe(0);
    expect(await third.makeCrossSigningKeys()).toBe(1);
    await third.stop();
    expect(await ada.isCrossSigningReady()).toBe(true);
  });

  const recoveryKey = await ada.keepSecrets();
  const room = await ada.rooms.create({ invite: [graceId], encrypted: true, name: "Secrets" });

  await test.step("messages are read by both", async () => {
    await expect.poll(() => grace.rooms.membership(room)).toBe("invite");
    await grace.rooms.join(room);
    await expect.poll(() => ada.rooms.members(room)).toContain(graceId);
    await ada.rooms.say(room, "Can you read this?");
    await expect.poll(() => grace.rooms.texts(room)).toContain("Can you read this?");
    await grace.rooms.say(room, "Nobody else can.");
    await expect.poll(() => ada.rooms.texts(room)).toContain("Nobody else can.");
    expect((await ada.rooms.messages(room)).every(({ encrypted }) => encrypted)).toBe(true);
  });

  await test.step("users verify each other by emoji", async () => {
    await ada.verification.askUser(graceId, room);
    await compareEmoji(ada, grace);
    await expect.poll(() => ada.trustsUser(graceId)).toBe(true);
    await expect.poll(() => grace.trustsUser(adaId)).toBe(true);
    const { deviceId } = await grace.identity();
    expect(await ada.trustsDevice(graceId, deviceId)).toBe(true);
  });

  await test.step("a second device restores the key backup with the recovery key", async () => {
    const keys = await ada.roomKeys();
    expect(keys).toBeGreaterThanOrEqual(2);
    await expect.poll(() => ada.backedUp()).toBe(keys);
    const device = await first.page.login(account, recoveryKey);
    await device.takeCrossSigningKeys();
    expect(await device.isCrossSigningReady()).toBe(true);
    expect(await device.restoreWithRecoveryKey()).toEqual({ total: keys, imported: keys });
    await device.rooms.loadAll(room);
    await expect.poll(() => device.rooms.texts(room)).toEqual(await ada.rooms.texts(room));
    const { deviceId } = await device.identity();
    await expect.poll(() => grace.trustsDevice(adaId, deviceId)).toBe(true);
    await device.rooms.say(room, "From my other device.");
    await expect.poll(() => grace.rooms.texts(room)).toContain("From my other device.");
    await device.stop();
  });

  await test.step("a third device is verified by the first, which hands it the secrets", async () => {
    const device = await first.page.login(account);
    await device.verification.askOwnDevices();
    await compareEmoji(device, ada);
    const { deviceId } = await device.identity();
    await expect.poll(() => ada.trustsDevice(adaId, deviceId)).toBe(true);
    await expect.poll(() => device.isCrossSigningReady()).toBe(true);
    await expect.poll(() => device.hasBackupKey()).toBe(true);
    await device.restore();
    await device.rooms.loadAll(room);
    await expect.poll(() => device.rooms.texts(room)).toContain("Nobody else can.");
    await device.stop();
  });

  await test.step("messages are edited and reacted to", async () => {
    const message = await grace.rooms.say(room, "See you at six");
    await expect.poll(() => ada.rooms.texts(room)).toContain("See you at six");
    await grace.rooms.edit(room, message, "See you at seven");
    await expect.poll(() => ada.rooms.texts(room)).toContain("See you at seven");
    expect(await ada.rooms.texts(room)).not.toContain("See you at six");
    await ada.rooms.react(room, message, "👍");
    await grace.rooms.react(room, message, "👍");
    await expect.poll(async () => (await grace.rooms.reactions(room, message))["👍"]?.toSorted()).toEqual([adaId, graceId].toSorted());
  });
}

/** Goes through a verification that `asking` asked for, as two people would who read the emoji to each other. */
async function compareEmoji(asking: RemoteClient, asked: RemoteClient): Promise<void> {
  await expect.poll(() => asked.verification.phase()).toBe("requested");
  await asked.verification.accept();
  await expect.poll(() => asking.verification.phase()).toBe("ready");
  await asking.verification.compare();
  await expect.poll(() => asking.verification.emoji()).toBeTruthy();
  await expect.poll(() => asked.verification.emoji()).toBe(await asking.verification.emoji());
  await Promise.all([asking.verification.confirm(), asked.verification.confirm()]);
  for (const one of [asking, asked]) {
    await expect.poll(async () => [await one.verification.phase(), await one.verification.reason()]).toEqual(["done", undefined]);
  }
}
