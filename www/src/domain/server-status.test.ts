import { describe, expect, test } from "vitest";
import { filterLog, logText, parseLog } from "./log-lines.ts";
import { invitableRelays, parseStatus, reachability } from "./server-status.ts";

const relay = (address: string, connected: boolean, reserved: boolean) => ({ address, connected, reserved, rtt_ms: 2.5 });
const answer = (relays: unknown[], peers: unknown[] = []) => ({ server_name: "ab", version: "1", started_ms: 5, network: { peer_id: "12D", relays, peers } });

describe("status", () => {
  test("is read whole", () => {
    expect(parseStatus(answer([relay("/a", true, true)], [{ server_name: "cd", connected: true, relayed: true, rtt_ms: null }]))).toEqual({
      serverName: "ab",
      version: "1",
      startedMs: 5,
      peerId: "12D",
      relays: [{ address: "/a", connected: true, reserved: true, rttMs: 2.5 }],
      peers: [{ serverName: "cd", connected: true, relayed: true }],
    });
  });

  test.each([null, 3, "x", [], {}, { server_name: 4 }])("of %j is none", (json) => {
    expect(parseStatus(json)).toBeUndefined();
  });

  test("with nonsense inside is still read", () => {
    expect(parseStatus({ server_name: "ab", network: { relays: "no", peers: [null] } })).toMatchObject({ relays: [], peers: [{ serverName: "", connected: false }] });
  });

  test.each([
    ["online", answer([relay("/a", true, true), relay("/b", false, false)], [{ server_name: "c", connected: true }]), "Online via 1 relay, 1 peer"],
    ["connecting", answer([relay("/a", true, false)]), "Connected to a relay; others cannot reach us yet"],
    ["offline", answer([relay("/a", false, false)]), "No relay answers; messages wait here and are sent later"],
    ["offline", answer([]), "No relay is known, so nobody can reach this server"],
    ["online", answer([], [{ server_name: "c", connected: true }]), "Online directly, 1 peer"],
  ])("says %s", (level, json, detail) => {
    expect(reachability(parseStatus(json), true)).toMatchObject({ level, detail });
  });

  test("says when the worker is silent", () => {
    expect(reachability(undefined, false).level).toBe("offline");
    expect(reachability(undefined, true).level).toBe("starting");
  });

  test("names the best relays first in invites", () => {
    const status = parseStatus(answer([relay("/off", false, false), relay("/on", true, false), relay("/best", true, true)]));
    expect(status && invitableRelays(status)).toEqual(["/best", "/on", "/off"]);
  });
});

describe("log", () => {
  const lines = parseLog({
    lines: [
      { ts: 0, level: "ERROR", target: "a", message: "broke" },
      { ts: 1, level: "INFO", target: "b", message: "went well" },
      { ts: 2, level: "DEBUG", target: "c", message: "details" },
      null,
    ],
  });

  test("is filtered by level and text", () => {
    expect(filterLog(lines, "error", "").map((line) => line.message)).toEqual(["broke"]);
    expect(filterLog(lines, "trace", "WELL").map((line) => line.message)).toEqual(["went well"]);
    expect(filterLog(lines, "trace", "")).toHaveLength(4);
  });

  test("is copied a line each", () => {
    expect(logText(lines.slice(0, 1))).toBe("1970-01-01T00:00:00.000Z ERROR a: broke");
  });

  test.each([null, [], { lines: 3 }])("of %j is empty", (json) => {
    expect(parseLog(json)).toEqual([]);
  });
});
