/** What the worker answers beside Matrix, below `/_hearth/`. */
import { type LogLine, parseLog } from "../domain/log-lines.ts";
import { type ServerStatus, parseStatus } from "../domain/server-status.ts";
import { noHandover } from "./handover.ts";

/** The homeserver lives at the app's own address. */
export const HOMESERVER = window.location.origin;

/** Reads the server's status; undefined if the answer holds none. */
export async function fetchStatus(): Promise<ServerStatus | undefined> {
  return parseStatus(await getJson("/_hearth/status"));
}

/** Reads the worker's newest log lines. */
export async function fetchLog(): Promise<LogLine[]> {
  return parseLog(await getJson("/_hearth/log"));
}

/** Tells the worker of relays, by multiaddr. */
export function addRelays(relays: readonly string[]): Promise<void> {
  return post("/_hearth/relays", { relays });
}

/** Tells the worker at which relays `server` can be met. */
export function addRoute(server: string, relays: readonly string[]): Promise<void> {
  return post("/_hearth/routes", { server, relays });
}

async function getJson(path: string): Promise<unknown> {
  await noHandover();
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function post(path: string, body: unknown): Promise<void> {
  await noHandover();
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
}
