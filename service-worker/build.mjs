/**
 * Builds the service worker into the app's folder, after the app itself was built there.
 *
 * Reads `HEARTH_WASM_DIR` (what `wasm-bindgen --target no-modules` made) and `HEARTH_OUT_DIR` (the app).
 * Writes `sw.js` and `hearth-<hash>.wasm`. `HEARTH_TEST_HOOKS=1` lets tests make the homeserver fail.
 */
import { createHash } from "node:crypto";
import { readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.env.HEARTH_OUT_DIR || join(here, "../target/app");
const wasmFolder = process.env.HEARTH_WASM_DIR || join(here, "../target/bindings");
/** Files that the worker must not keep: itself, and what changes while the app does not. */
const NOT_KEPT = new Set(["/sw.js", "/config.json"]);

const glue = await readFile(join(wasmFolder, "hearth_worker.js"), "utf8");
const module = await readFile(join(wasmFolder, "hearth_worker_bg.wasm"));
const wasm = `/hearth-${hash(module).slice(0, 16)}.wasm`;
await removeOldModules();
await writeFile(join(out, wasm), module);
const files = await appFiles();
const version = await versionOf(files);

await build({
  entryPoints: [join(here, "sw.ts")],
  outfile: join(out, "sw.js"),
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome111", "firefox115", "safari16.4"],
  define: {
    HEARTH_BUILD: JSON.stringify({ version, wasm, files }),
    HEARTH_TEST_HOOKS: String(process.env.HEARTH_TEST_HOOKS === "1"),
  },
  plugins: [{ name: "bindings", setup: provideBindings }],
});

/**
 * The bindings as a function of the globals that `bridge.ts` replaces. They are a script of their own state, and
 * an instance that broke down needs fresh ones.
 */
function provideBindings(build) {
  build.onResolve({ filter: /^hearth:bindings$/ }, () => ({ path: "bindings", namespace: "hearth" }));
  build.onLoad({ filter: /.*/, namespace: "hearth" }, () => ({
    contents: `export default function bindings(WebSocket, WebAssembly) {\n${glue}\nreturn wasm_bindgen;\n}`,
    loader: "js",
  }));
}

async function removeOldModules() {
  for (const name of await readdir(out)) if (/^hearth-[0-9a-f]+\.wasm$/.test(name)) await rm(join(out, name));
}

/** The paths of the files to keep, in order. */
async function appFiles() {
  const entries = await readdir(out, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(out.length).split(sep).join("/"))
    .map((path) => (path.startsWith("/") ? path : `/${path}`));
  return paths.filter((path) => !NOT_KEPT.has(path) && !/\.(map|br|gz)$/.test(path)).sort();
}

/** The version in package.json and a hash of everything the app consists of. */
async function versionOf(files) {
  const { version } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
  const parts = [];
  for (const path of files) parts.push(path, hash(await readFile(join(out, path))));
  for (const name of (await readdir(here)).filter((name) => name.endsWith(".ts")).sort()) {
    parts.push(hash(await readFile(join(here, name))));
  }
  return `${version}+${hash([...parts, hash(glue)].join("\n")).slice(0, 8)}`;
}

function hash(content) {
  return createHash("sha256").update(content).digest("hex");
}
