/**
 * Another Matrix client beside the app: `client` in `/config.json`, a path of the same origin. Whoever opens it in a browser without a
 * homeserver is sent here first, with its path as `then`.
 */

/** By this cookie whoever serves the client knows that its pages have a homeserver. It goes when the browser forgets the homeserver. */
const STARTED = "hearth-started=1";
const YEAR_S = 31_536_000;

/** Once the homeserver has started: goes to the other client, if that is what was opened. Then this page has nothing more to do. */
export async function goOn(): Promise<void> {
  document.cookie = `${STARTED}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax`;
  const then = new URLSearchParams(location.search).get("then");
  const address = then === null ? undefined : ofThisOrigin(then);
  // Without cookies it would be sent here again.
  if (!address || !document.cookie.includes(STARTED)) return;
  location.replace(address + location.hash);
  await new Promise(() => undefined);
}

/** Its address; undefined if whoever serves the app has none, or cannot be asked now. */
export async function otherClient(): Promise<string | undefined> {
  try {
    const response = await fetch("/config.json", { cache: "no-cache" });
    return response.ok ? addressOf(await response.json()) : undefined;
  } catch {
    return undefined;
  }
}

function addressOf(config: unknown): string | undefined {
  if (typeof config !== "object" || config === null || !("client" in config) || typeof config.client !== "string") return undefined;
  return ofThisOrigin(config.client);
}

function ofThisOrigin(path: string): string | undefined {
  if (!URL.canParse(path, location.origin)) return undefined;
  const url = new URL(path, location.origin);
  return url.origin === location.origin ? url.href : undefined;
}
