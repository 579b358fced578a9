import { EventStatus, MatrixError, MatrixEvent, type Room } from "matrix-js-sdk";
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

test("a message that finds the storage full is not tried again, and says why", () => {
  const full = new MatrixError({ errcode: "M_RESOURCE_LIMIT_EXCEEDED" }, 507);
  expect(createSendQueue().retryAlgorithm(null, 1, full)).toBe(-1);
  const event = message({ origin_server_ts: 1 });
  event.setStatus(EventStatus.NOT_SENT);
  event.error = full;
  expect(timelineOf(room([event]))[0]).toMatchObject({ delivery: "failed", reason: "this browser’s storage is full" });
});
