/** What a user does in the app, by the roles and labels that a screen reader would announce. */
import { type Locator, type Page, expect } from "@playwright/test";

/** The session that the app keeps for its user. */
export interface Session {
  userId: string;
  accessToken: string;
}

/** The app in one page. */
export class App {
  constructor(public readonly page: Page) {}

  /** Chooses a display name, as a new user must. */
  async welcome(name: string): Promise<void> {
    await this.page.getByRole("textbox", { name: "Display name" }).fill(name);
    await this.page.getByRole("button", { name: "Continue" }).click();
    await expect(this.page.getByRole("textbox", { name: "Display name" })).toBeHidden();
  }

  /** Creates a room and opens it. */
  async createRoom(name: string): Promise<void> {
    await this.page.getByRole("button", { name: "New room" }).first().click();
    await this.page.getByRole("textbox", { name: "Room name" }).fill(name);
    await this.page.getByRole("button", { name: "Create room" }).click();
    await expect(this.composer).toBeVisible();
  }

  /** The invite link of the open room. */
  async inviteLink(): Promise<string> {
    await this.page.getByRole("button", { name: "Invite" }).first().click();
    const box = this.page.getByRole("textbox", { name: "Invite link" });
    // Without a relay address nobody could follow the link.
    await expect(box).toHaveValue(/relay=/);
    const link = await box.inputValue();
    await this.page.keyboard.press("Escape");
    await expect(box).toBeHidden();
    return link;
  }

  /** Sends a message in the open room. */
  async send(text: string): Promise<void> {
    await this.composer.fill(text);
    await this.composer.press("Enter");
    await expect(this.message(text)).toBeVisible();
  }

  /** A message that is shown in the open room. */
  message(text: string): Locator {
    return this.page.getByRole("list", { name: "Messages" }).getByText(text, { exact: true });
  }

  /** The box that messages are written in. */
  get composer(): Locator {
    return this.page.getByRole("textbox", { name: "Message" });
  }

  /** The Matrix session, as the page keeps it. */
  session(): Promise<Session> {
    return this.page.evaluate(async () => {
      const done = <T>(request: IDBRequest<T>) =>
        new Promise<T>((resolve, reject) => {
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error ?? new Error("the session cannot be read"));
        });
      const database = await done(indexedDB.open("hearth-session"));
      try {
        const kept = database.transaction("session").objectStore("session").get("own") as IDBRequest<Session>;
        const { userId, accessToken } = await done(kept);
        return { userId, accessToken };
      } finally {
        database.close();
      }
    });
  }

  /** Deletes the homeserver's database, as a user may in the browser's settings. Waits until nobody has it open. */
  async deleteDatabase(): Promise<void> {
    await this.page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const deletion = indexedDB.deleteDatabase("hearth");
          deletion.onsuccess = resolve;
          deletion.onerror = reject;
        }),
    );
  }

  /** Stops the service worker, as the browser may do at any moment. The next request starts it again. */
  async killWorker(): Promise<void> {
    const devtools = await this.page.context().newCDPSession(this.page);
    await devtools.send("ServiceWorker.enable");
    await devtools.send("ServiceWorker.stopAllWorkers");
    await devtools.detach();
  }

  /** Asks the Matrix API of the user's own homeserver, by `fetch` in the page. */
  async request(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
    const { accessToken } = await this.session();
    return this.page.evaluate(
      async ({ method, path, body, accessToken }) => {
        const response = await fetch(path, {
          method,
          headers: { Authorization: `Bearer ${accessToken}` },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
        return { status: response.status, body: (await response.json()) as unknown };
      },
      { method, path, body, accessToken },
    );
  }

  /** The id of the one room that the user has joined. */
  async onlyRoom(): Promise<string> {
    const { body } = await this.request("GET", "/_matrix/client/v3/joined_rooms");
    const rooms = (body as { joined_rooms: string[] }).joined_rooms;
    expect(rooms).toHaveLength(1);
    return rooms[0] ?? "";
  }
}
