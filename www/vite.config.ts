import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** A homeserver over plain HTTP, for working on the app without its service worker. */
const devHomeserver = process.env["HEARTH_DEV_HOMESERVER"] ?? "http://127.0.0.1:8448";

export default defineConfig({
  plugins: [react()],
  resolve: {
    alias: [
      // The app does not encrypt end to end yet, so neither the 5 MB crypto module nor its glue is shipped.
      { find: "@matrix-org/matrix-sdk-crypto-wasm", replacement: here("./src/platform/no-crypto.ts") },
      { find: /^\.\/rust-crypto\/index\.js$/, replacement: here("./src/platform/no-crypto.ts") },
    ],
  },
  build: {
    outDir: process.env["HEARTH_OUT_DIR"] ?? here("../target/app"),
    // The service worker and the server's files are built into the same folder.
    emptyOutDir: false,
    target: "es2022",
    chunkSizeWarningLimit: 1500,
  },
  server: {
    host: "127.0.0.1",
    proxy: { "/_matrix": devHomeserver, "/_hearth": devHomeserver, "/.well-known": devHomeserver },
  },
  test: { include: ["src/**/*.test.ts"], environment: "node", silent: "passed-only" },
});
