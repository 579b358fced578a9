/**
 * The app's files: kept at installation, so that the app starts without a network and without waiting for one.
 *
 * All of them, the page too, are of this worker's version, whatever is served by now; the newest comes with the next worker. The files of
 * the version before stay until the next update, for pages that still show it.
 */

const PREFIX = "hearth-app-";
const CURRENT = PREFIX + HEARTH_BUILD.version;
const PAGE = "/index.html";

/** Keeps every file of this version. Rejects, and so fails the installation, if one cannot be had. */
export async function precache(): Promise<void> {
  const cache = await caches.open(CURRENT);
  await Promise.all(HEARTH_BUILD.files.map((path) => keep(cache, path)));
}

async function keep(cache: Cache, path: string): Promise<void> {
  const known = isHashed(path) ? await caches.match(path) : undefined;
  // The browser's own cache may hold an older file of the same name.
  const response = known ?? (await fetch(path, { cache: isHashed(path) ? "default" : "reload" }));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  // Where `/index.html` leads to `/`: browsers show no page that they were redirected to by a worker.
  const { body, status, headers } = response;
  await cache.put(path, response.redirected ? new Response(body, { status, headers }) : response);
}

function isHashed(path: string): boolean {
  return path.startsWith("/assets/") || path === HEARTH_BUILD.wasm;
}

/** Removes the files of all versions but this one and the one before. Whether there was one. */
export async function dropOldFiles(): Promise<boolean> {
  const others = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CURRENT);
  await Promise.all(others.slice(0, -1).map((name) => caches.delete(name)));
  return others.length > 0;
}

/** The app's page. */
export async function page(request: Request): Promise<Response> {
  return (await kept(PAGE)) ?? fetch(request);
}

/** A file: the kept one, or from the network. */
export async function file(request: Request): Promise<Response> {
  return (await kept(new URL(request.url).pathname)) ?? fetch(request);
}

/** The WebAssembly module. */
export function module(): Promise<Response> {
  return file(new Request(HEARTH_BUILD.wasm));
}

/** From this version's files; failing that, from those of the version before. */
async function kept(path: string): Promise<Response | undefined> {
  const cache = await caches.open(CURRENT);
  return (await cache.match(path)) ?? (await caches.match(path));
}
