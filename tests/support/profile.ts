/** A browser profile: storage that outlives the browser, and a page with the app. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type BrowserContext, type Page, chromium } from "@playwright/test";
import { App } from "./app.ts";
import { launchOptions } from "./browser.ts";
import { folder } from "./node.ts";

/** One user's browser. */
export class Profile {
  private context: BrowserContext | undefined;

  private constructor(private readonly directory: Awaited<ReturnType<typeof folder>>) {}

  /** A profile that has never been used. */
  static async create(): Promise<Profile> {
    return new Profile(await folder());
  }

  /** Opens the browser, if it is closed, and `url` in it. */
  async open(url: string): Promise<App> {
    this.context ??= await chromium.launchPersistentContext(this.directory.path, {
      ...launchOptions,
      viewport: { width: 1100, height: 720 },
      permissions: ["clipboard-read", "clipboard-write"],
    });
    const page: Page = this.context.pages()[0] ?? (await this.context.newPage());
    await page.goto(url);
    return new App(page);
  }

  /** Closes the browser. The profile stays. */
  async close(): Promise<void> {
    await this.context?.close();
    this.context = undefined;
  }

  /** Ends all of the browser's processes at once: what they had not written is lost. */
  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.context?.once("close", resolve));
    const { stdout } = await promisify(execFile)("ps", ["-A", "-ww", "-o", "pid=,args="]);
    const processes = stdout.split("\n").filter((line) => line.includes(this.directory.path));
    for (const line of processes) end(Number.parseInt(line, 10));
    await ended;
    this.context = undefined;
  }

  /** Closes the browser and forgets the profile. */
  async remove(): Promise<void> {
    await this.close();
    await this.directory.remove();
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended with its parent.
  }
}
