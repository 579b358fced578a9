/**
 * The Client-Server API of the same homeserver natively and in Chromium, beside Synapse with SQLite, in one run. Synapse is asked by
 * Node, as the native homeserver is, and by a page of Chromium, as the service worker is: a page waits longer for anything.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { build } from "esbuild";
import { test } from "../support/fixtures.ts";
import { Node } from "../support/node.ts";
import { Synapse } from "../support/synapse.ts";
import { type Figures, type Size, measure } from "./api/workload.ts";

const SIZE: Size = { registrations: 20, sends: 200, rooms: 100, messages: 20, joins: 200, members: 1_000 };

const found: { synapse?: Figures; synapse_by_page?: Figures; native?: Figures; browser?: Figures } = {};
/** What is told as a ratio to what. */
const COMPARED = [
  ["native", "synapse"],
  ["browser", "synapse"],
  ["browser", "synapse_by_page"],
] as const;

test.describe.configure({ timeout: 1_800_000 });

test.afterAll(async () => {
  const figures: Figures = {};
  for (const [home, own] of Object.entries(found)) {
    for (const [name, value] of Object.entries(own)) figures[`api_${name}_${home}`] = round(value);
  }
  for (const [home, reference] of COMPARED) {
    for (const [name, value] of Object.entries(found[home] ?? {})) {
      const other = found[reference]?.[name];
      if (other) figures[`api_${name}_${reference}_to_${home}`] = round(other / value);
    }
  }
  await writeFile(process.env["HEARTH_BENCH_OUT"] ?? "bench.json", JSON.stringify(figures, null, 2));
});

test("natively", async ({ directory }) => {
  const node = await Node.homeserver(await directory(), [], ["--no-rate-limits"]);
  found.native = await measure(node.url, SIZE);
  found.native["peak_memory_mib"] = await peakMemory(node.pid);
  await node.stop();
});

test("Synapse", async ({ directory }) => {
  const synapse = await startSynapse(await directory());
  found.synapse = await measure(synapse.url, SIZE);
  found.synapse["peak_memory_mib"] = await peakMemory(synapse.pid);
  await synapse.stop();
});

test("Synapse, asked by a page", async ({ directory, profile }) => {
  const synapse = await startSynapse(await directory());
  const { page } = await (await profile()).open(`${synapse.url}/_matrix/static/`);
  found.synapse_by_page = await measureFrom(page);
  await synapse.stop();
});

test("in a service worker", async ({ relay, profile }) => {
  const app = await (await profile()).open(relay.url);
  await app.welcome("Landlord");
  // A picture of the same origin: nothing but the workload asks the worker or runs in the page.
  await app.page.goto(`${relay.url}/favicon.svg`);
  found.browser = await measureFrom(app.page);
});

async function startSynapse(folder: string): Promise<Synapse> {
  const python = process.env["HEARTH_SYNAPSE_PYTHON"];
  test.skip(!python, "Synapse cannot be installed here");
  return Synapse.start(python ?? "", folder);
}

/** Runs the workload in `page` against the homeserver of its origin. */
async function measureFrom(page: Page): Promise<Figures> {
  return page.evaluate(`${await workload()}; workload.measure(location.origin, ${JSON.stringify(SIZE)})`);
}

/** The workload as a script that defines `workload`. */
async function workload(): Promise<string> {
  const entry = fileURLToPath(new URL("api/workload.ts", import.meta.url));
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "workload",
  });
  return outputFiles[0]?.text ?? "";
}

/** The most memory that a process had so far, where the system tells. */
async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? NaN) / 1024;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
