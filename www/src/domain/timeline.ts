/**
 * A room's timeline as it is shown: events in, items out. Days are separated, messages of one person are grouped, runs
 * of membership changes become one line. Knows neither the SDK nor React.
 */
import { startOfDay } from "./time.ts";

/** What became of a message that we sent. */
export type Delivery = "sending" | "sent" | "failed";

/** A person as of some event. */
export interface Person {
  userId: string;
  name: string;
}

/** One event that is shown. */
export interface TimelineEvent {
  /** Stable from the local echo on: React's key. */
  key: string;
  /** The event id; a local echo has none that others know. */
  eventId: string;
  sender: Person;
  ts: number;
  content: EventContent;
  delivery: Delivery;
  /** Why it failed, if there is more to say than that. */
  reason?: string;
}

export type EventContent =
  | { kind: "text"; body: string; emote: boolean; notice: boolean }
  | { kind: "redacted" }
  | { kind: "unsupported"; type: string }
  | { kind: "membership"; change: MembershipChange; target: Person }
  | { kind: "profile"; from: string; to: string }
  | { kind: "state"; what: "created" | "name" | "topic" | "access"; value: string };

export type MembershipChange = "joined" | "left" | "invited" | "declined" | "withdrew" | "removed" | "banned" | "unbanned";

export type TimelineItem =
  | { kind: "day"; key: string; ts: number }
  | { kind: "line"; key: string; ts: number; text: string }
  | { kind: "group"; key: string; sender: Person; own: boolean; messages: readonly TimelineEvent[] };

/** Messages of one person this close to each other stand together. */
const GROUP_MS = 5 * 60_000;
/** More names than this in a line become "and n others". */
const MAX_NAMES = 3;

/** Arranges a room's events, oldest first, for the user `me`. */
export function arrange(all: readonly TimelineEvent[], me: string): TimelineItem[] {
  const events = all.filter((event, index) => !isCreatorsJoin(event, all[index - 1]));
  const items: TimelineItem[] = [];
  let day: number | undefined;
  let index = 0;
  for (let event = events[index]; event !== undefined; event = events[index]) {
    const today = startOfDay(event.ts);
    if (today !== day) {
      day = today;
      items.push({ kind: "day", key: `day-${today}-${event.key}`, ts: event.ts });
    }
    const run = runFrom(events, index);
    items.push(isLine(event) ? lineOf(run) : groupOf(run, me));
    index += run.length;
  }
  return items;
}

/** Who creates a room joins it: that goes without saying. */
function isCreatorsJoin({ content }: TimelineEvent, before: TimelineEvent | undefined): boolean {
  if (before?.content.kind !== "state" || before.content.what !== "created") return false;
  return content.kind === "membership" && content.change === "joined" && content.target.userId === before.sender.userId;
}

/** Whether the event is told in a line of its own rather than shown as a message. */
function isLine({ content: { kind } }: TimelineEvent): boolean {
  return kind === "membership" || kind === "profile" || kind === "state";
}

/** The events from `start` on that become one item. */
function runFrom(events: readonly TimelineEvent[], start: number): TimelineEvent[] {
  const first = events[start];
  if (!first) return [];
  const run = [first];
  for (let next = events[start + run.length]; next && belongs(run, next); next = events[start + run.length]) run.push(next);
  return run;
}

function belongs(run: readonly TimelineEvent[], next: TimelineEvent): boolean {
  const first = run[0];
  const last = run.at(-1);
  if (!first || !last || startOfDay(first.ts) !== startOfDay(next.ts)) return false;
  if (isLine(first)) return sameChange(first.content, next.content);
  return !isLine(next) && next.sender.userId === first.sender.userId && next.ts - last.ts < GROUP_MS;
}

function sameChange(a: EventContent, b: EventContent): boolean {
  return a.kind === "membership" && b.kind === "membership" && a.change === b.change;
}

function groupOf(run: readonly TimelineEvent[], me: string): TimelineItem {
  const [first] = run as [TimelineEvent];
  return { kind: "group", key: first.key, sender: first.sender, own: first.sender.userId === me, messages: run };
}

function lineOf(run: readonly TimelineEvent[]): TimelineItem {
  const [first] = run as [TimelineEvent];
  return { kind: "line", key: first.key, ts: first.ts, text: describe(run) };
}

/** One sentence for a run of like events. */
export function describe(run: readonly TimelineEvent[]): string {
  const first = run[0];
  if (!first) return "";
  const { content, sender } = first;
  switch (content.kind) {
    case "membership":
      return describeMembership(content.change, sender, run.map(targetName));
    case "profile":
      return `${content.from} is now called ${content.to}`;
    case "state":
      return describeState(content.what, content.value, sender.name);
    default:
      return "";
  }
}

function targetName({ content, sender }: TimelineEvent): string {
  return content.kind === "membership" ? content.target.name : sender.name;
}

function describeMembership(change: MembershipChange, by: Person, targets: readonly string[]): string {
  const who = names(targets);
  switch (change) {
    case "joined":
      return `${who} joined`;
    case "left":
      return `${who} left`;
    case "invited":
      return `${by.name} invited ${who}`;
    case "declined":
      return `${who} declined the invitation`;
    case "withdrew":
      return `${by.name} withdrew the invitation for ${who}`;
    case "removed":
      return `${by.name} removed ${who}`;
    case "banned":
      return `${by.name} banned ${who}`;
    case "unbanned":
      return `${by.name} unbanned ${who}`;
  }
}

function describeState(what: "created" | "name" | "topic" | "access", value: string, by: string): string {
  switch (what) {
    case "created":
      return `${by} created this room`;
    case "name":
      return value ? `${by} named the room “${value}”` : `${by} removed the room’s name`;
    case "topic":
      return value ? `${by} set the topic: ${value}` : `${by} removed the topic`;
    case "access":
      return value === "public" ? `${by} let anyone with the link join` : `${by} made the room invite-only`;
  }
}

/** `Ada`, `Ada and Grace`, `Ada, Grace and 3 others`. */
export function names(people: readonly string[]): string {
  const distinct = [...new Set(people)];
  if (distinct.length > MAX_NAMES) return `${distinct.slice(0, MAX_NAMES - 1).join(", ")} and ${distinct.length - MAX_NAMES + 1} others`;
  const last = distinct.at(-1) ?? "";
  return distinct.length > 1 ? `${distinct.slice(0, -1).join(", ")} and ${last}` : last;
}

/** The sentence under the timeline while others write; empty if nobody does. */
export function typingText(people: readonly string[]): string {
  if (people.length === 0) return "";
  return `${names(people)} ${people.length === 1 ? "is" : "are"} typing…`;
}
