import { expect, test } from "../support/fixtures.ts";
import { App } from "../support/app.ts";

test("who has just signed up is known after the browser was killed", async ({ relay, profile }) => {
  const browser = await profile();
  let ada = await browser.open(relay.url);
  await ada.welcome("Ada");
  await browser.kill();

  ada = await browser.open(relay.url);
  await expect(ada.page.getByRole("heading", { name: "Hello, Ada" })).toBeVisible();
});

test("a tab that waits for a name follows when another tab signs up", async ({ relay, profile }) => {
  const first = await (await profile()).open(relay.url);
  await expect(first.page.getByRole("textbox", { name: "Display name" })).toBeVisible();
  const second = new App(await first.page.context().newPage());
  await second.page.goto(relay.url);
  await second.welcome("Ada");
  await expect(first.page.getByRole("heading", { name: "Hello, Ada" })).toBeVisible();
});

test("the session of a version that kept it in localStorage is moved", async ({ relay, profile }) => {
  const ada = await (await profile()).open(relay.url);
  await ada.welcome("Ada");
  const session = await ada.session();
  await ada.page.evaluate(async () => {
    const open = indexedDB.open("hearth-session");
    const kept = await new Promise((resolve) => {
      open.onsuccess = () => {
        const store = open.result.transaction("session", "readwrite").objectStore("session");
        const found = store.get("own");
        found.onsuccess = () => resolve(found.result);
        store.delete("own");
      };
    });
    open.result.close();
    localStorage.setItem("hearth.session", JSON.stringify(kept));
  });
  await ada.page.reload();
  await expect(ada.page.getByRole("heading", { name: "Hello, Ada" })).toBeVisible();
  expect(await ada.session()).toEqual(session);
  expect(await ada.page.evaluate(() => localStorage.getItem("hearth.session"))).toBeNull();
});
