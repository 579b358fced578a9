/** What the worker says about itself and its network, read defensively, and said in a few words. */

export interface Relay {
  address: string;
  connected: boolean;
  reserved: boolean;
  rttMs?: number;
}

export interface Peer {
  serverName: string;
  connected: boolean;
  relayed: boolean;
  rttMs?: number;
}

export interface ServerStatus {
  serverName: string;
  version: string;
  startedMs?: number;
  peerId: string;
  relays: readonly Relay[];
  peers: readonly Peer[];
}

/** The answer of `/_hearth/status`; undefined if it is none. */
export function parseStatus(json: unknown): ServerStatus | undefined {
  const root = record(json);
  const serverName = text(root["server_name"]);
  if (!serverName) return undefined;
  const network = record(root["network"]);
  const startedMs = number(root["started_ms"]);
  return {
    serverName,
    version: text(root["version"]),
    ...(startedMs !== undefined && { startedMs }),
    peerId: text(network["peer_id"]),
    relays: list(network["relays"]).map(relay),
    peers: list(network["peers"]).map(peer),
  };
}

function relay(json: unknown): Relay {
  const value = record(json);
  return { address: text(value["address"]), connected: value["connected"] === true, reserved: value["reserved"] === true, ...rtt(value) };
}

function peer(json: unknown): Peer {
  const value = record(json);
  return { serverName: text(value["server_name"]), connected: value["connected"] === true, relayed: value["relayed"] === true, ...rtt(value) };
}

function rtt(value: Record<string, unknown>): { rttMs?: number } {
  const rttMs = number(value["rtt_ms"]);
  return rttMs === undefined ? {} : { rttMs };
}

/** How reachable this server is, in one word and one sentence. */
export interface Reachability {
  level: "online" | "connecting" | "offline" | "starting";
  label: string;
  detail: string;
}

/** `reachable` is false when the worker itself gave no answer. */
export function reachability(status: ServerStatus | undefined, answered: boolean): Reachability {
  if (!status) {
    return answered
      ? { level: "starting", label: "Starting", detail: "Your server is starting" }
      : { level: "offline", label: "Not running", detail: "Your server gives no answer; trying again" };
  }
  const relays = status.relays.filter((one) => one.connected);
  const peers = status.peers.filter((one) => one.connected);
  if (relays.length === 0 && peers.length === 0) {
    return status.relays.length === 0
      ? { level: "offline", label: "No relay", detail: "No relay is known, so nobody can reach this server" }
      : { level: "offline", label: "Offline", detail: "No relay answers; messages wait here and are sent later" };
  }
  if (!relays.some((one) => one.reserved) && peers.length === 0) {
    return { level: "connecting", label: "Connecting", detail: "Connected to a relay; others cannot reach us yet" };
  }
  const via = relays.length > 0 ? `via ${count(relays.length, "relay")}` : "directly";
  const others = peers.length > 0 ? `, ${count(peers.length, "peer")}` : "";
  return { level: "online", label: "Online", detail: `Online ${via}${others}` };
}

/** The relays to name in an invite link, best first. */
export function invitableRelays(status: ServerStatus): string[] {
  const rank = (one: Relay): number => (one.reserved ? 0 : one.connected ? 1 : 2);
  return [...status.relays].sort((a, b) => rank(a) - rank(b)).map((one) => one.address).filter(Boolean);
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

function record(json: unknown): Record<string, unknown> {
  return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
}

function list(json: unknown): unknown[] {
  return Array.isArray(json) ? json : [];
}

function text(json: unknown): string {
  return typeof json === "string" ? json : "";
}

function number(json: unknown): number | undefined {
  return typeof json === "number" && Number.isFinite(json) ? json : undefined;
}
