import { describe, expect, test } from "vitest";
import { formatInvite, inviteFromUrl, inviteUrl, parseInvite } from "./invite-link.ts";
import { formatRoute, parseRoute } from "./route.ts";

const ROOM = `!${"a".repeat(43)}`;
const SERVER = "0f".repeat(32);
const RELAY = "/ip4/127.0.0.1/tcp/8008/ws/p2p/12D3KooWMbSZ1LzcYtGh4b6hb1u7cuFpkyVZi2vRvKZhZbH6zZ8N";

describe("invite links", () => {
  test("come back as they were made", () => {
    const invite = { roomId: ROOM, via: [SERVER, "example.org:8448"], relays: [RELAY], name: "Küche & Co", by: "Ada" };
    expect(parseInvite(formatInvite(invite))).toEqual(invite);
    expect(inviteFromUrl(`Look: ${inviteUrl("https://hearth.example", invite)} `)).toEqual(invite);
    expect(parseRoute(formatRoute({ place: "join", invite }))).toEqual({ place: "join", invite });
  });

  test("need no more than a room", () => {
    expect(parseInvite(`join/${encodeURIComponent(ROOM)}`)).toEqual({ roomId: ROOM, via: [], relays: [] });
  });

  test.each(["join/", "join/notaroom", "join/%E0%A4%A", `join/${"!".padEnd(400, "a")}`, "joint/!abc", "join/!a%3Cb%3E"])("%s is none", (path) => {
    expect(parseInvite(path)).toBeUndefined();
  });

  test("are bounded in every part", () => {
    const many = Array.from({ length: 50 }, (_, index) => `via=s${index}.example&relay=%2Fip4%2F${index}`).join("&");
    const invite = parseInvite(`join/${ROOM}?${many}&name=${"n".repeat(5_000)}&relay=${"/".repeat(9_000)}`);
    expect(invite?.via).toHaveLength(3);
    expect(invite?.relays).toHaveLength(4);
    expect(invite?.name).toHaveLength(80);
  });

  test("drop servers and relays that are none, and what would disguise a label", () => {
    const invite = parseInvite(`join/${ROOM}?via=a%2Fb&via=ok.example&relay=https%3A%2F%2Fx&by=${encodeURIComponent("A\u202eda\n\u0000!")}`);
    expect(invite).toEqual({ roomId: ROOM, via: ["ok.example"], relays: [], by: "A da !" });
  });
});

describe("routes", () => {
  test.each(["#/", "#/server", `#/room/${encodeURIComponent(ROOM)}`])("%s comes back", (fragment) => {
    expect(formatRoute(parseRoute(fragment))).toBe(fragment);
  });

  test.each(["", "#", "#/nowhere", "#/room/", "#/room/%E0%A4%A", "#/room/@ada:x"])("%s is home", (fragment) => {
    expect(parseRoute(fragment)).toEqual({ place: "home" });
  });
});
