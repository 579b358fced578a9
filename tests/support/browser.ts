/** How Chromium is started: an installed one where `CHROMIUM` names it, otherwise Playwright's own. */
import type { LaunchOptions } from "@playwright/test";

export const launchOptions: LaunchOptions = {
  ...(process.env["CHROMIUM"] ? { executablePath: process.env["CHROMIUM"] } : {}),
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};
