import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { expect, test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";

/** `POST` of JSON to the homeserver, as the page of another client does it. */
function post(page: Page, path: string, body: object, token?: string): Promise<{ status: number; body: Record<string, unknown> }> {
  return page.evaluate(
    async ({ path, body, token }) => {
      const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
      const response = await fetch(`/_matrix/client/v3${path}`, { method: "POST", body: JSON.stringify(body), ...(headers && { headers }) });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    },
    { path, body, token },
  );
}

test("another client beside the app has the same homeserver, and no service worker of its own", async ({ profile, directory }) => {
  const client = await directory();
  await writeFile(join(client, "index.html"), "<!doctype html><title>Another</title><script>document.title += ' client'</script>");
  await writeFile(join(client, "sw.js"), "addEventListener('fetch', (event) => event.respondWith(new Response('not Matrix')));");
  const node = await Node.serve(await directory(), undefined, undefined, ["--client", client]);
  try {
    const ada = await (await profile()).open(node.url);
    await ada.welcome("Ada");
    const { accessToken, userId } = await ada.session();

    await ada.page.goto(`${node.url}/client`);
    expect(await ada.page.title()).toBe("Another client");
    const seen = await ada.page.evaluate(async (accessToken) => {
      const own = await navigator.serviceWorker.register("sw.js").then(
        () => "registered",
        () => "refused",
      );
      const headers = { Authorization: `Bearer ${accessToken}` };
      const whoami = await fetch("/_matrix/client/v3/account/whoami", { headers });
      return { own, userId: ((await whoami.json()) as { user_id: string }).user_id };
    }, accessToken);
    expect(seen).toEqual({ own: "refused", userId });
  } finally {
    await node.stop();
  }
});

test("the app tells another client's user how to sign in, and asks for the password that was changed there", async ({ profile, directory }) => {
  const client = await directory();
  await writeFile(join(client, "index.html"), "<!doctype html><title>Another client</title>");
  const node = await Node.serve(await directory(), undefined, undefined, ["--client", client]);
  try {
    const ada = await (await profile()).open(node.url);
    await ada.welcome("Ada");
    await ada.page.getByRole("button", { name: "Settings" }).click();
    const settings = ada.page.getByRole("dialog", { name: "Settings" });
    const link = settings.getByRole("link", { name: "Another Matrix client" });
    await expect(link).toHaveAttribute("href", `${node.url}/client/`);
    await settings.getByRole("button", { name: "How to sign in" }).click();
    await expect(settings.getByLabel("Homeserver", { exact: true })).toHaveValue(node.url);
    const user = await settings.getByLabel("User name", { exact: true }).inputValue();
    const password = await settings.getByLabel("Password", { exact: true }).inputValue();

    const opened = ada.page.waitForEvent("popup");
    await link.click();
    const other = await opened;
    await expect(other).toHaveTitle("Another client");
    const identifier = { type: "m.id.user", user };
    const login = await post(other, "/login", { type: "m.login.password", identifier, password });
    expect(login.body["user_id"]).toBe((await ada.session()).userId);
    const auth = { type: "m.login.password", identifier, password };
    const change = { new_password: "of my own", logout_devices: true, auth };
    expect((await post(other, "/account/password", change, String(login.body["access_token"]))).status).toBe(200);

    await expect(ada.page.getByText("sign in with the new one")).toBeVisible();
    await ada.page.getByRole("button", { name: "I have an account" }).click();
    await expect(ada.page.getByLabel("User name")).toHaveValue(user);
    const field = ada.page.getByLabel("Password", { exact: true });
    await field.fill("mistyped");
    await ada.page.getByRole("button", { name: "Sign in" }).click();
    await expect(ada.page.getByText("knows no such user name and password")).toBeVisible();
    await field.fill("of my own");
    await ada.page.getByRole("button", { name: "Sign in" }).click();
    await expect(ada.page.getByRole("heading", { name: "Hello, Ada" })).toBeVisible();
    expect((await ada.session()).userId).toBe(user);
  } finally {
    await node.stop();
  }
});

test("who opens another client first has a homeserver before it begins", async ({ profile, directory }) => {
  const client = await directory();
  await writeFile(join(client, "index.html"), "<!doctype html><title>Another client</title>");
  const node = await Node.serve(await directory(), undefined, undefined, ["--client", client]);
  try {
    const { page } = await (await profile()).open(`${node.url}/client/?a=b%26c#/login`);
    await expect(page).toHaveTitle("Another client");
    expect(page.url()).toBe(`${node.url}/client/?a=b%26c#/login`);
    const registered = await post(page, "/register", { username: "eve", password: "of my own", auth: { type: "m.login.dummy" } });
    expect(registered.body["user_id"]).toMatch(/^@eve:/);

    // A path of another origin is not followed: the app itself is shown.
    await page.goto(`${node.url}/?then=//other.example/`);
    await expect(page.getByRole("textbox", { name: "Display name" })).toBeVisible();
  } finally {
    await node.stop();
  }
});
