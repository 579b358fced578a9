import { defineConfig } from "@playwright/test";
import { launchOptions } from "./support/browser.ts";

export default defineConfig({
  testDir: "bench",
  testMatch: "*.bench.ts",
  outputDir: "results",
  workers: 1,
  timeout: 600_000,
  expect: { timeout: 30_000 },
  use: { launchOptions },
});
