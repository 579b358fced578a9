/** `/config.json`: the relays that whoever serves the app names. The last good copy is kept. */

const CACHE = "hearth-config";
const PATH = "/config.json";
/** How long reading it may take, in milliseconds: some networks never answer. */
const TIMEOUT_MS = 10_000;

/** The relays of the last good copy. */
export async function knownRelays(): Promise<string[]> {
  const response = await (await caches.open(CACHE)).match(PATH);
  return response ? relays(await response.json()) : [];
}

/** The relays of the server's copy, which is then kept; `undefined` if there is none to be had now. */
export async function fetchRelays(): Promise<string[] | undefined> {
  try {
    const response = await fetch(PATH, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) return undefined;
    const found = relays(await response.clone().json());
    await (await caches.open(CACHE)).put(PATH, response);
    return found;
  } catch {
    return undefined;
  }
}

/** The relays in a configuration; what is malformed is left out. */
export function relays(config: unknown): string[] {
  if (typeof config !== "object" || config === null || !("relays" in config)) return [];
  return Array.isArray(config.relays) ? config.relays.filter((relay) => typeof relay === "string") : [];
}
