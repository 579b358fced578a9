import { describe, expect, test } from "vitest";
import { type EventContent, type TimelineEvent, arrange, names, typingText } from "./timeline.ts";

const ME = "@ada:here";
const NOON = new Date(2026, 4, 20, 12).getTime();
const ada = { userId: ME, name: "Ada" };
const grace = { userId: "@grace:there", name: "Grace" };
const linus = { userId: "@linus:there", name: "Linus" };

let serial = 0;
function event(sender: { userId: string; name: string }, ts: number, content: EventContent | string): TimelineEvent {
  serial += 1;
  const shown: EventContent = typeof content === "string" ? { kind: "text", body: content, emote: false, notice: false } : content;
  return { key: `k${serial}`, eventId: `$${serial}`, sender, ts, content: shown, delivery: "sent" };
}
const joined = (target: { userId: string; name: string }): EventContent => ({ kind: "membership", change: "joined", target });
const shape = (events: readonly TimelineEvent[]): string[] =>
  arrange(events, ME).map((item) => (item.kind === "group" ? `${item.own ? "own" : item.sender.name}×${item.messages.length}` : item.kind === "line" ? item.text : "day"));

describe("arrange", () => {
  test("groups what one person says within five minutes", () => {
    const minute = 60_000;
    expect(
      shape([
        event(ada, NOON, "1"),
        event(ada, NOON + minute, "2"),
        event(grace, NOON + 2 * minute, "3"),
        event(grace, NOON + 9 * minute, "4"),
      ]),
    ).toEqual(["day", "own×2", "Grace×1", "Grace×1"]);
  });

  test("separates days, also within a group", () => {
    const midnight = new Date(2026, 4, 21).getTime();
    expect(shape([event(ada, midnight - 1_000, "late"), event(ada, midnight + 1_000, "early")])).toEqual(["day", "own×1", "day", "own×1"]);
  });

  test("tells of people who came together in one line", () => {
    expect(shape([event(grace, NOON, joined(grace)), event(linus, NOON + 1, joined(linus)), event(grace, NOON + 2, "hi")])).toEqual([
      "day",
      "Grace and Linus joined",
      "Grace×1",
    ]);
  });

  test("does not say that who created the room joined it", () => {
    const created: EventContent = { kind: "state", what: "created", value: "" };
    expect(shape([event(ada, NOON, created), event(ada, NOON, joined(ada)), event(grace, NOON, joined(grace))])).toEqual([
      "day",
      "Ada created this room",
      "Grace joined",
    ]);
  });

  test("gives every item a key of its own", () => {
    const items = arrange([event(ada, NOON, "1"), event(grace, NOON, "2"), event(ada, NOON + 86_400_000, "3")], ME);
    expect(new Set(items.map((item) => item.key)).size).toBe(items.length);
  });

  test("of nothing is nothing", () => {
    expect(arrange([], ME)).toEqual([]);
  });
});

describe("names", () => {
  test("are listed as people say them", () => {
    expect(names([])).toBe("");
    expect(names(["Ada", "Ada"])).toBe("Ada");
    expect(names(["Ada", "Grace", "Linus"])).toBe("Ada, Grace and Linus");
    expect(names(["A", "B", "C", "D", "E"])).toBe("A, B and 3 others");
    expect(typingText(["Ada", "Grace"])).toBe("Ada and Grace are typing…");
    expect(typingText([])).toBe("");
  });
});
