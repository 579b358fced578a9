/**
 * What a user does in the app in Firefox, driven by WebDriver BiDi: Playwright drives only a Firefox of its own.
 *
 * A debugger of Chromium's keeps service workers alive. This one does not, so that idle death can be seen.
 */
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { folder } from "./node.ts";

/** How long a worker may have nothing to do before Firefox stops it, in milliseconds; 30 s for users. */
const IDLE_MS = 1_000;

/** The installed Firefox, if there is one. */
export const executablePath = process.env["FIREFOX"];

/** One user's Firefox: a profile that outlives it, and a page with the app. */
export class Firefox {
  private browser: Browser | undefined;
  private shown: Page | undefined;

  private constructor(private readonly directory: Awaited<ReturnType<typeof folder>>) {}

  /** A profile that has never been used. */
  static async create(): Promise<Firefox> {
    return new Firefox(await folder());
  }

  /** Opens the browser, if it is closed, and `url` in it. */
  async open(url: string): Promise<void> {
    this.browser ??= await puppeteer.launch({
      browser: "firefox",
      executablePath: executablePath ?? "firefox",
      userDataDir: this.directory.path,
      extraPrefsFirefox: {
        "dom.serviceWorkers.idle_timeout": IDLE_MS,
        "dom.serviceWorkers.idle_extended_timeout": IDLE_MS,
      },
    });
    this.shown ??= await this.browser.newPage();
    await this.shown.setViewport({ width: 1100, height: 720 });
    await this.shown.goto(url);
  }

  /** The page. */
  get page(): Page {
    if (!this.shown) throw new Error("Firefox is closed");
    return this.shown;
  }

  /** Chooses a display name, as a new user must. */
  async welcome(name: string): Promise<void> {
    await this.fill("Display name", name);
    await this.press("Continue");
  }

  /** Creates a room and opens it. */
  async createRoom(name: string): Promise<void> {
    await this.press("New room");
    await this.fill("Room name", name);
    await this.press("Create room");
    await this.box("Message").wait();
  }

  /** The invite link of the open room. */
  async inviteLink(): Promise<string> {
    await this.press("Invite");
    const box = this.box("Invite link").filter((box) => (box as HTMLInputElement).value.includes("relay="));
    const link = await box.map((box) => (box as HTMLInputElement).value).wait();
    await this.page.keyboard.press("Escape");
    return link;
  }

  /** Sends a message in the open room. */
  async send(text: string): Promise<void> {
    await this.fill("Message", text);
    await this.page.keyboard.press("Enter");
    await this.sees(text);
  }

  /** Waits until a message is shown in the open room. */
  async sees(text: string): Promise<void> {
    await this.page.locator(`[aria-label="Messages"] ::-p-text(${text})`).wait();
  }

  /** When the instance of the homeserver that answers now was started, in milliseconds since the Unix epoch. */
  async instance(): Promise<number> {
    return this.page.evaluate(async () => {
      const status = (await (await fetch("/_hearth/status")).json()) as { started_ms: number };
      return status.started_ms;
    });
  }

  /** Closes the browser. The profile stays. */
  async close(): Promise<void> {
    await this.browser?.close();
    this.browser = this.shown = undefined;
  }

  /** Closes the browser and forgets the profile. */
  async remove(): Promise<void> {
    await this.close();
    await this.directory.remove();
  }

  private press(name: string): Promise<void> {
    return this.at(`//button[@aria-label="${name}" or normalize-space(.)="${name}"]`).click();
  }

  private fill(name: string, text: string): Promise<void> {
    return this.box(name).fill(text);
  }

  private box(name: string) {
    const label = `@aria-label="${name}" or @id=//label[starts-with(normalize-space(.), "${name}")]/@for`;
    return this.at(`//*[self::input or self::textarea][${label}]`);
  }

  /** Not by role: Puppeteer takes half a minute to find a box in Firefox so. */
  private at(xpath: string) {
    return this.page.locator(`::-p-xpath(${xpath})`);
  }
}
