import { EventStatus, MatrixError, MatrixEvent, type Room, RoomMember } from "matrix-js-sdk";
import { expect, test } from "vitest";
import { timelineOf } from "./convert.ts";
import { createSendQueue } from "./send-queue.ts";

const ADA = "@ada:here";

const message = (extra: object = {}): MatrixEvent =>
  new MatrixEvent({ type: "m.room.message", event_id: "$1", room_id: "!r", sender: ADA, content: { msgtype: "m.text", body: "hi" }, ...extra });

/** As much of a room as its timeline is read from. */
const room = (events: MatrixEvent[]): Room =>
  ({ getLiveTimeline: () => ({ getEvents: () => events }), getPendingEvents: () => [], getMember: () => null }) as unknown as Room;

test("an event may claim to be of any time, and is shown", () => {
  const [event] = timelineOf(room([message({ origin_server_ts: Number.MAX_SAFE_INTEGER })]));
  expect(new Date(event?.ts ?? NaN).toISOString()).toMatch(/^\+275760/);
});

test("neither a name nor a message is more than a browser can lay out", () => {
  const marks = "\u0301".repeat(20_000);
  const member = new RoomMember("!r", ADA);
  member.rawDisplayName = `Ada${marks}`;
  const event = message({ content: { msgtype: "m.text", body: `hi${marks}` } });
  event.sender = member;
  const named = new MatrixEvent({ type: "m.room.member", state_key: ADA, sender: ADA, content: { membership: "join", displayname: "x".repeat(60_000) } });
  const [said, joined] = timelineOf(room([event, named]));
  expect(said?.sender.name.length).toBeLessThan(121);
  expect(said?.content).toMatchObject({ kind: "text", body: `hi${"\u0301".repeat(16)}` });
  expect(joined?.content).toMatchObject({ target: { name: `${"x".repeat(120)}…` } });
});

test("a message that finds the storage full is not tried again, and says why", () => {
  const full = new MatrixError({ errcode: "M_RESOURCE_LIMIT_EXCEEDED" }, 507);
  expect(createSendQueue().retryAlgorithm(null, 1, full)).toBe(-1);
  const event = message({ origin_server_ts: 1 });
  event.setStatus(EventStatus.NOT_SENT);
  event.error = full;
  expect(timelineOf(room([event]))[0]).toMatchObject({ delivery: "failed", reason: "this browser’s storage is full" });
});
