import { defineConfig } from "@playwright/test";
import { launchOptions } from "./support/browser.ts";

export default defineConfig({
  testDir: "e2e",
  outputDir: "results",
  // Each test starts its own relay; two browsers and a relay fill two cores.
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: "list",
  use: { launchOptions },
});
