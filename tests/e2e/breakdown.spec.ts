import { expect, test } from "../support/fixtures.ts";

test("a panic in the worker is logged with its stack, and the homeserver is replaced", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Earthquake");
  await ada.send("Before");
  const before = (await ada.request("GET", "/_hearth/status")).body as { started_ms: number };

  await ada.page.evaluate(() => navigator.serviceWorker.controller?.postMessage({ type: "panic" }));
  await expect
    .poll(async () => ((await ada.request("GET", "/_hearth/status")).body as { started_ms: number }).started_ms)
    .toBeGreaterThan(before.started_ms);
  await ada.send("After");
  await ada.page.reload();
  await ada.page.getByText("Earthquake").first().click();
  await expect(ada.message("Before")).toBeVisible();
  await expect(ada.message("After")).toBeVisible();

  const log = (await ada.request("GET", "/_hearth/log")).body as { lines: { level: string; message: string }[] };
  const panic = log.lines.find((line) => line.message.includes("a test asked for a panic"));
  expect(panic?.level.toUpperCase()).toBe("ERROR");
  // A frame of the module: the stack came along.
  expect(panic?.message).toMatch(/wasm-function|hearth.*\.wasm/);

  // The homeserver that broke down lets go of the database: one that kept it open would have its deletion wait.
  await ada.deleteDatabase();
});

test("a homeserver whose database was deleted is replaced by a new one, which says so", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  const answer = (path: string) => ada.page.evaluate(async (path) => (await fetch(path)).text(), path);
  const name = async () => (JSON.parse(await answer("/_hearth/status")) as { server_name?: string }).server_name;
  const before = await name();
  expect(before).toBeTruthy();

  await ada.deleteDatabase();
  await expect.poll(async () => ((await name()) ?? before) !== before).toBe(true);
  expect(await answer("/_matrix/client/versions")).toContain("v1.1");
  expect(await answer("/_hearth/log")).toContain("the database was deleted");
});

test("a homeserver that cannot start says why", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  // What a newer release leaves to an older one that is served again.
  await ada.page.evaluate(() => {
    const open = indexedDB.open("hearth", 1_000_000);
    return new Promise((resolve, reject) => {
      open.onsuccess = () => resolve(open.result.close());
      open.onerror = () => reject(open.error ?? new Error("not opened"));
    });
  });
  await ada.page.reload();
  const trouble = ada.page.getByRole("alert");
  await expect(trouble).toContainText("Your server did not start");
  await expect(trouble).toContainText("the database has schema 1000000");
});

test("a room whose conversation cannot be shown can still be left", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  await ada.createRoom("Minefield");
  await ada.send("Boom");
  await ada.page.addInitScript(() => {
    Date.prototype.toLocaleString = () => {
      throw new RangeError("no such time");
    };
  });
  await ada.page.reload();
  await expect(ada.page.getByRole("alert")).toContainText("The conversation cannot be shown");
  await ada.page.getByRole("button", { name: "More" }).click();
  await ada.page.getByRole("menuitem", { name: "Leave room" }).click();
  await ada.page.getByRole("button", { name: "Leave", exact: true }).click();
  await expect(ada.page.getByRole("link", { name: "Minefield" })).toBeHidden();
});
