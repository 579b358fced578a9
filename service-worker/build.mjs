/**
 * Builds the service worker into the app's folder, after the app itself was built there.
 *
 * Reads `HEARTH_WASM_DIR` (what `wasm-bindgen --target no-modules` made) and `HEARTH_OUT_DIR` (the app).
 * Writes `sw.js`, `hearth-<hash>.wasm` and, beside each text and the module, `<name>.br` for servers to give out.
 * `HEARTH_TEST_HOOKS=1` lets tests make the homeserver fail.
 */
import { createHash } from "node:crypto";
import { readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.env.HEARTH_OUT_DIR || join(here, "../target/app");
const wasmFolder = process.env.HEARTH_WASM_DIR || join(here, "../target/bindings");
/** Files that the worker must not keep: itself, and what changes while the app does not. */
const NOT_KEPT = new Set(["/sw.js", "/config.json"]);
const COMPRESSIBLE = /\.(css|html|js|svg|wasm|webmanifest)$/;

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
for (const path of [...files, "/sw.js"].filter((path) => COMPRESSIBLE.test(path))) {
  const smaller = path === wasm ? await compressedModule() : await compressed(await readFile(join(out, path)));
  await writeFile(join(out, `${path}.br`), smaller);
}

/** The module compressed, once: it takes ten seconds. */
async function compressedModule() {
  const kept = join(wasmFolder, `${wasm}.br`);
  const before = await readFile(kept).catch(() => undefined);
  if (before) return before;
  // Renamed when it is whole: an interrupted build leaves nothing that looks finished.
  const unfinished = `${kept}.unfinished`;
  await writeFile(unfinished, await compressed(module));
  await rename(unfinished, kept);
  return readFile(kept);
}

/** The smallest brotli that every browser reads. */
function compressed(content) {
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: content.length,
  };
  return promisify(brotliCompress)(content, { params });
}

/**
 * The bindings as a function of the globals that `bridge.ts` replaces. They are a script of their own state, and
 * an instance that broke down needs fresh ones.
 */
function provideBindings(build) {
  build.onResolve({ filter: /^hearth:bindings$/ }, () => ({ path: "bindings", namespace: "hearth" }));
  build.onLoad({ filter: /.*/, namespace: "hearth" }, () => ({
    contents: `export default function bindings(WebSocket, WebAssembly, indexedDB) {\n${glue}\nreturn wasm_bindgen;\n}`,
    loader: "js",
  }));
}

async function removeOldModules() {
  for (const name of await readdir(out)) if (/^hearth-[0-9a-f]+\.wasm(\.br)?$/.test(name)) await rm(join(out, name));
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
