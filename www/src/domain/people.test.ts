import { describe, expect, test } from "vitest";
import { type Member, findMembers, sortMembers, viaServers } from "./members.ts";
import { AVATAR_COLOURS, colourOf, initials, serverOf, shortServer } from "./person.ts";
import { usernameFor, usernameWithSuffix } from "./username.ts";

const member = (userId: string, membership: "join" | "invite" = "join"): Member => ({
  userId,
  name: userId.slice(1, userId.indexOf(":")),
  server: serverOf(userId),
  membership,
  admin: false,
});

describe("user names", () => {
  test.each([
    ["Ada", "ada"],
    ["  Ada  Lovelace ", "ada-lovelace"],
    ["Zoë Müller", "zoe-muller"],
    ["日本", "me"],
    ["---", "me"],
    ["x".repeat(99), "x".repeat(32)],
  ])("of %s", (display, username) => {
    expect(usernameFor(display)).toBe(username);
  });

  test("get a suffix of four", () => {
    expect(usernameWithSuffix("ada", 0)).toBe("ada-0000");
    expect(usernameWithSuffix("ada", 0.999999999)).toBe("ada-zzzz");
  });
});

describe("people", () => {
  test("have initials", () => {
    expect(["Ada Lovelace", "grace", "@linus:x", "…", "👩‍🚀 Mae", ""].map(initials)).toEqual(["AL", "G", "L", "…", "👩‍🚀M", "?"]);
  });

  test("keep their colour", () => {
    expect(colourOf("@ada:here")).toBe(colourOf("@ada:here"));
    expect(AVATAR_COLOURS).toContain(colourOf(""));
  });

  test("have a server that fits on a line", () => {
    expect(shortServer("ab".repeat(32))).toBe("ababab…abab");
    expect(shortServer("example.org")).toBe("example.org");
    expect(serverOf("@ada:example.org:8448")).toBe("example.org:8448");
  });

  test("who are in stand before those who are invited", () => {
    const sorted = sortMembers([member("@bob:x", "invite"), member("@zoe:x"), member("@ada:x")]);
    expect(sorted.map(({ name }) => name)).toEqual(["ada", "zoe", "bob"]);
  });
});

describe("the people of a large room", () => {
  const members = Array.from({ length: 1_000 }, (_, index) => member(`@Person${index}:x`));

  test("are shown in part, and the others counted", () => {
    const { shown, more } = findMembers(members, "");
    expect(shown).toEqual(members.slice(0, 200));
    expect(more).toBe(800);
  });

  test("are found by name and by user id", () => {
    expect(findMembers(members, " pERSON99 ").shown.map(({ name }) => name)).toEqual(["Person99", ...Array.from({ length: 10 }, (_, index) => `Person99${index}`)]);
    expect(findMembers(members, "@person7:x")).toEqual({ shown: [members[7]], more: 0 });
    expect(findMembers(members, "nobody").shown).toEqual([]);
  });
});

describe("servers to join through", () => {
  test("are our own, then the fullest", () => {
    const members = [member("@a:one"), member("@b:two"), member("@c:two"), member("@d:three"), member("@e:own"), member("@f:four", "invite")];
    expect(viaServers(members, "own")).toEqual(["own", "two", "one"]);
  });
});
