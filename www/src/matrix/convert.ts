/** From the SDK's events and rooms to the domain's plain values. */
import { EventStatus, EventTimeline, EventType, type MatrixEvent, NotificationCountType, RelationType, type Room, type RoomMember } from "matrix-js-sdk";
import { clipped, legible } from "../domain/legible.ts";
import type { RoomSummary } from "../domain/room-list.ts";
import { previewOf } from "../domain/room-list.ts";
import { momentOf } from "../domain/time.ts";
import type { Delivery, EventContent, MembershipChange, Person, TimelineEvent } from "../domain/timeline.ts";
import { STORAGE_FULL } from "./send-queue.ts";

const MAX_NAME = 120;
const MAX_TOPIC = 1_000;

/** Everything of a room that is shown in its timeline, oldest first, what is being sent last. */
export function timelineOf(room: Room): TimelineEvent[] {
  const events = [...room.getLiveTimeline().getEvents(), ...room.getPendingEvents()];
  return events.map((event) => toTimelineEvent(event, room)).filter((event) => event !== undefined);
}

/** The room as it stands in the list. */
export function summaryOf(room: Room, me: string): RoomSummary {
  const last = lastShown(room);
  const inviter = room.getMember(me)?.events.member?.getSender();
  const invited = room.getMyMembership() === "invite";
  return {
    roomId: room.roomId,
    name: nameOf(room),
    topic: topicOf(room),
    membership: invited ? "invite" : "join",
    ...(invited && inviter && { inviter: personOf(inviter, room).name, inviterId: inviter }),
    memberCount: room.getJoinedMemberCount(),
    unread: room.getUnreadNotificationCount(NotificationCountType.Total),
    lastTs: last?.ts ?? momentOf(room.getMember(me)?.events.member?.getTs()),
    preview: previewOf(last, me),
  };
}

/** The room's name, or what the SDK makes of its members. */
export function nameOf(room: Room): string {
  return clipped(room.name, MAX_NAME);
}

export function topicOf(room: Room): string {
  const topic: unknown = room.getLiveTimeline().getState(EventTimeline.FORWARDS)?.getStateEvents(EventType.RoomTopic, "")?.getContent()["topic"];
  return typeof topic === "string" ? clipped(topic, MAX_TOPIC) : "";
}

/** A person by the name that the room knows now. */
export function personOf(userId: string, room: Room | null): Person {
  return { userId, name: chosenName(room?.getMember(userId)) ?? localpart(userId) };
}

/** The name that a member chose: the SDK puts the user id where there is none. */
function chosenName(member: RoomMember | null | undefined): string | undefined {
  return member && member.rawDisplayName !== member.userId ? clipped(member.rawDisplayName, MAX_NAME) : undefined;
}

/** A user id without its `@` and server. */
export function localpart(userId: string): string {
  return userId.replace(/^@/, "").replace(/:.*$/s, "");
}

function lastShown(room: Room): TimelineEvent | undefined {
  const events = [...room.getLiveTimeline().getEvents(), ...room.getPendingEvents()];
  for (let index = events.length - 1; index >= 0; index--) {
    const event = events[index];
    const shown = event && toTimelineEvent(event, room);
    if (shown && shown.content.kind !== "profile") return shown;
  }
  return undefined;
}

function toTimelineEvent(event: MatrixEvent, room: Room): TimelineEvent | undefined {
  const content = contentOf(event, room);
  const userId = event.getSender();
  if (!content || !userId) return undefined;
  const eventId = event.getId() ?? "";
  const name = chosenName(event.sender) ?? personOf(userId, room).name;
  const sender = { userId, name };
  const full = event.error?.httpStatus === STORAGE_FULL;
  return {
    key: event.getTxnId() ?? eventId,
    eventId,
    sender,
    ts: momentOf(event.getTs()),
    content,
    delivery: deliveryOf(event),
    ...(full && { reason: "this browser’s storage is full" }),
  };
}

function deliveryOf({ status }: MatrixEvent): Delivery {
  if (status === EventStatus.NOT_SENT) return "failed";
  return status === null || status === EventStatus.SENT ? "sent" : "sending";
}

function contentOf(event: MatrixEvent, room: Room): EventContent | undefined {
  if (event.isState()) return stateContent(event, room);
  if (event.getType() !== "m.room.message" && event.getType() !== "m.sticker" && event.getType() !== "m.room.encrypted") return undefined;
  if (event.isRedacted()) return { kind: "redacted" };
  if (event.isRelation(RelationType.Replace)) return undefined;
  return messageContent(event);
}

function messageContent(event: MatrixEvent): EventContent {
  const { msgtype, body } = event.getContent();
  const known = msgtype === "m.text" || msgtype === "m.emote" || msgtype === "m.notice";
  if (known && typeof body === "string") return { kind: "text", body: legible(body), emote: msgtype === "m.emote", notice: msgtype === "m.notice" };
  return { kind: "unsupported", type: typeof msgtype === "string" ? msgtype : event.getType() };
}

function stateContent(event: MatrixEvent, room: Room): EventContent | undefined {
  const content = event.getContent();
  const value = (key: string): string => (typeof content[key] === "string" ? clipped(content[key], MAX_TOPIC) : "");
  switch (event.getType()) {
    case "m.room.create":
      return { kind: "state", what: "created", value: "" };
    case "m.room.name":
      return changed(event, "name") ? { kind: "state", what: "name", value: value("name") } : undefined;
    case "m.room.topic":
      return changed(event, "topic") ? { kind: "state", what: "topic", value: value("topic") } : undefined;
    case "m.room.join_rules":
      return changed(event, "join_rule") ? { kind: "state", what: "access", value: value("join_rule") } : undefined;
    case "m.room.member":
      return memberContent(event, room);
    default:
      return undefined;
  }
}

/** What a room begins with is part of its creation, and no news. */
function changed(event: MatrixEvent, key: string): boolean {
  const before: unknown = event.getPrevContent()[key];
  return before !== undefined && before !== event.getContent()[key];
}

function memberContent(event: MatrixEvent, room: Room): EventContent | undefined {
  const content = event.getContent();
  const before = event.getPrevContent();
  const userId = event.getStateKey() ?? "";
  const name = nameIn(content) ?? nameIn(before) ?? personOf(userId, room).name;
  const change = membershipChange(before["membership"], content["membership"], event.getSender() === userId);
  if (change) return { kind: "membership", change, target: { userId, name } };
  const from = nameIn(before);
  return from && from !== name ? { kind: "profile", from, to: name } : undefined;
}

function nameIn(content: Record<string, unknown>): string | undefined {
  const name = content["displayname"];
  return typeof name === "string" && name ? clipped(name, MAX_NAME) : undefined;
}

function membershipChange(before: unknown, after: unknown, self: boolean): MembershipChange | undefined {
  if (before === after) return undefined;
  switch (after) {
    case "join":
      return "joined";
    case "invite":
      return "invited";
    case "ban":
      return "banned";
    case "leave":
      if (before === "ban") return "unbanned";
      if (before === "invite") return self ? "declined" : "withdrew";
      return self ? "left" : "removed";
    default:
      return undefined;
  }
}
