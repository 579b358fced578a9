/** The room engine in Chromium: `crate/bench` as a module in a page, its store in IndexedDB. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Page, expect, test } from "@playwright/test";

/** A page of nobody's, which has IndexedDB because it has an origin. */
const ORIGIN = "http://localhost:1";

/** What the module's bindings put into the page. */
interface Module {
  (source: { module_or_path: string }): Promise<unknown>;
  compare(smoke: boolean): string;
  resolve(smoke: boolean): string;
  append(database: string, smoke: boolean): Promise<string>;
}

declare const wasm_bindgen: Module;

const figures: Record<string, number> = {};

test.afterAll(async () => {
  await writeFile(process.env["HEARTH_BENCH_OUT"] ?? "bench.json", JSON.stringify(figures, null, 2));
});

// Each in a page of its own: what one leaves in memory is not in the way of the next.
for (const part of ["compare", "resolve", "append"] as const) {
  test(`${part}, on rooms of many sizes`, async ({ page }) => {
    await serve(page);
    await page.goto(ORIGIN);
    const found = JSON.parse(await page.evaluate(measure, part)) as Record<string, number>;
    expect(Object.keys(found)).not.toHaveLength(0);
    Object.assign(figures, found);
  });
}

async function serve(page: Page): Promise<void> {
  const folder = process.env["HEARTH_BENCH_MODULE"] ?? "";
  const files = {
    "/": { contentType: "text/html", body: '<!doctype html><script src="/hearth_bench.js"></script>' },
    "/hearth_bench.js": { contentType: "text/javascript", body: await readFile(join(folder, "hearth_bench.js")) },
    "/hearth_bench_bg.wasm": { contentType: "application/wasm", body: await readFile(join(folder, "hearth_bench_bg.wasm")) },
  };
  for (const [path, file] of Object.entries(files)) await page.route(`${ORIGIN}${path}`, (route) => route.fulfill(file));
}

/** Runs in the page. */
async function measure(part: "compare" | "resolve" | "append"): Promise<string> {
  const module = wasm_bindgen;
  await module({ module_or_path: "/hearth_bench_bg.wasm" });
  return part === "append" ? module.append("bench", false) : module[part](false);
}
