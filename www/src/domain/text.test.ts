import { describe, expect, test } from "vitest";
import { isOnlyEmoji, linkify } from "./links.ts";
import { type RoomSummary, badge, filterRooms, previewOf, sortRooms } from "./room-list.ts";
import { dayLabel, duration, momentOf, shortTime } from "./time.ts";
import { TypingNotifier } from "./typing.ts";

describe("links", () => {
  const hrefs = (text: string): string[] => linkify(text).flatMap((part) => (part.kind === "link" ? [part.href] : []));

  test("are found without what follows them", () => {
    expect(hrefs("See https://a.example/x?y=1, or (http://b.example).")).toEqual(["https://a.example/x?y=1", "http://b.example/"]);
    expect(hrefs("https://c.example/a_(b)")).toEqual(["https://c.example/a_(b)"]);
  });

  test("are only those of the web", () => {
    expect(hrefs("javascript:alert(1) file:///etc http:// data:text/html,x")).toEqual([]);
  });

  test("are found in linear time", () => {
    // A minute and more, were each dot looked at from each dot before it.
    const [dots, brackets] = [".".repeat(300_000), ")".repeat(300_000)];
    expect(hrefs(`http://a${dots}x`)).toEqual([]);
    expect(hrefs(`http://a.example${dots}`)).toEqual(["http://a.example/"]);
    expect(hrefs(`http://a.example${brackets}`)).toEqual(["http://a.example/"]);
  });

  test("are of a length that somebody may mean", () => {
    const long = `http://a.example/${"x".repeat(3_000)}`;
    expect(linkify(long)).toEqual([{ kind: "text", text: long }]);
  });

  test.each(["", "plain", "https://a.example", "x https://a.example, y <https://b.example> z", "https://"])("leave %j whole", (text) => {
    expect(linkify(text).map((part) => part.text).join("")).toBe(text);
  });
});

test("a few emoji are large, words and digits are not", () => {
  expect(["👋", "👍🏽 ❤️", "👩‍🚀"].every(isOnlyEmoji)).toBe(true);
  expect(["", "hi 👋", "123", "👋👋👋👋👋"].some(isOnlyEmoji)).toBe(false);
});

describe("times", () => {
  const now = new Date(2026, 4, 20, 12).getTime();
  const ago = (days: number): number => new Date(2026, 4, 20 - days, 9, 5).getTime();

  test("are said from today's view", () => {
    expect([0, 1, 3, 30, 400].map((days) => dayLabel(ago(days), now, "en-GB"))).toEqual(["Today", "Yesterday", "Sunday", "20 April", "15 April 2025"]);
    expect([0, 1, 3, 30].map((days) => shortTime(ago(days), now, "en-GB"))).toEqual(["09:05", "Yesterday", "Sun", "20 Apr"]);
  });

  test("are moments that can be shown, whatever an event claims", () => {
    const last = new Date(momentOf(Number.MAX_SAFE_INTEGER));
    expect(last.toISOString()).toBe("+275760-09-13T00:00:00.000Z");
    expect(dayLabel(last.getTime(), now, "en-GB")).toMatch(/275760$/);
    expect(new Date(momentOf(undefined)).toISOString()).toBe("1970-01-01T00:00:00.000Z");
  });

  test("last", () => {
    expect([0, 59_999, 60_000, 3_600_000, 3_840_000, 90_000_000, -5].map(duration)).toEqual(["0 s", "59 s", "1 min", "1 h", "1 h 4 min", "1 d 1 h", "0 s"]);
  });
});

describe("the room list", () => {
  const room = (name: string, lastTs: number, membership: "join" | "invite" = "join"): RoomSummary => ({
    roomId: `!${name}`, name, topic: "", membership, memberCount: 1, unread: 0, lastTs, preview: "",
  });

  test("begins with invitations, then the latest", () => {
    const sorted = sortRooms([room("old", 1), room("b", 5), room("a", 5), room("invited", 0, "invite")]);
    expect(sorted.map(({ name }) => name)).toEqual(["invited", "a", "b", "old"]);
  });

  test("is filtered by name", () => {
    expect(filterRooms([room("Kitchen", 1), room("Attic", 2)], " KIT").map(({ name }) => name)).toEqual(["Kitchen"]);
  });

  test("previews one short line", () => {
    const text = (body: string) => ({
      key: "k", eventId: "$e", sender: { userId: "@ada:x", name: "Ada" }, ts: 0, delivery: "sent" as const,
      content: { kind: "text" as const, body, emote: false, notice: false },
    });
    expect(previewOf(text("two\nlines"), "@me:x")).toBe("Ada: two lines");
    expect(previewOf(text("mine"), "@ada:x")).toBe("You: mine");
    expect(previewOf(text("x".repeat(9_999)), "@me:x")).toHaveLength(121);
    expect(previewOf(undefined, "@me:x")).toBe("");
  });

  test("counts to ninety-nine", () => {
    expect([1, 99, 100].map(badge)).toEqual(["1", "99", "99+"]);
  });
});

test("typing is told at once, repeated seldom, and ended once", () => {
  let now = 0;
  const told: string[] = [];
  const notifier = new TypingNotifier((typing) => told.push(`${now} ${typing ? "on" : "off"}`), () => now);
  for (now = 0; now <= 20_000; now += 1_000) notifier.changed(true);
  notifier.changed(false);
  notifier.stopped();
  expect(told).toEqual(["0 on", "12000 on", "21000 off"]);
});
