import { defineConfig } from "@playwright/test";
import { launchOptions } from "./support/browser.ts";

// The debugger by which the browser is driven would else copy all that the service worker sends and receives, each frame
// of its sockets too, into a protocol of text: nobody's browser does that.
process.env["PLAYWRIGHT_DISABLE_SERVICE_WORKER_NETWORK"] = "1";

export default defineConfig({
  testDir: "bench",
  testMatch: "*.bench.ts",
  outputDir: "results",
  workers: 1,
  timeout: 600_000,
  expect: { timeout: 30_000 },
  use: { launchOptions },
});
