/** Another Matrix client beside the app: `client` in `/config.json`, a path of the same origin. */

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
  const url = new URL(config.client, location.origin);
  return url.origin === location.origin ? url.href : undefined;
}
