/**
 * One signed-in user: the SDK's client behind plain values to read (by topic) and a few things to do. Views see nothing of
 * the SDK. The store is in memory and rooms begin with a few events: the homeserver is next door, and keeps it all.
 */
import {
  ClientEvent,
  EventStatus,
  EventTimeline,
  HttpApiEvent,
  type MatrixClient,
  MatrixError,
  type MatrixEvent,
  MatrixEventEvent,
  NotificationCountType,
  PendingEventOrdering,
  Preset,
  type Room,
  RoomEvent,
  RoomMemberEvent,
  RoomStateEvent,
  SyncState,
  Visibility,
  createClient,
} from "matrix-js-sdk";
import { type Member, sortMembers, viaServers } from "../domain/members.ts";
import { serverOf } from "../domain/person.ts";
import { type RoomSummary, sortRooms } from "../domain/room-list.ts";
import type { TimelineEvent } from "../domain/timeline.ts";
import { TYPING_TIMEOUT_MS } from "../domain/typing.ts";
import { localpart, nameOf, personOf, summaryOf, timelineOf, topicOf } from "./convert.ts";
import { type Unsent, outbox } from "./outbox.ts";
import { createSendQueue } from "./send-queue.ts";
import type { Session } from "./session-store.ts";
import { Topics } from "./topics.ts";
import { steadyFetch } from "./transport.ts";

const FIRST_EVENTS = 20;
const PAGE_EVENTS = 40;
/** Below the half minute after which a browser may stop the worker. */
const POLL_MS = 25_000;

/** What the header of a room shows. */
export interface RoomView {
  roomId: string;
  name: string;
  topic: string;
  membership: string;
  /** Who may join: `public` is whoever has the link. */
  joinRule: string;
  memberCount: number;
}

/** A room's messages, oldest first. */
export interface TimelineView {
  events: readonly TimelineEvent[];
  /** Whether older events may exist that are not loaded. */
  hasOlder: boolean;
}

export class HearthClient {
  readonly userId: string;
  readonly #client: MatrixClient;
  readonly #topics = new Topics();
  #ready = false;
  #trouble: string | undefined;
  /** What an earlier page could not send, to rooms of which no sync has told yet. */
  #unsent: Unsent[] = [];

  constructor(baseUrl: string, session: Session, onTokenLost: () => void) {
    this.userId = session.userId;
    this.#client = createClient({
      baseUrl,
      userId: session.userId,
      deviceId: session.deviceId,
      accessToken: session.accessToken,
      fetchFn: steadyFetch,
      scheduler: createSendQueue(),
      disableVoip: true,
    });
    this.#client.on(HttpApiEvent.SessionLoggedOut, onTokenLost);
    this.#listen();
  }

  /** Begins to sync. */
  async start(): Promise<void> {
    await this.#client.startClient({
      initialSyncLimit: FIRST_EVENTS,
      lazyLoadMembers: true,
      pollTimeout: POLL_MS,
      threadSupport: false,
      disablePresence: true,
      pendingEventOrdering: PendingEventOrdering.Detached,
    });
  }

  stop(): void {
    this.#client.stopClient();
  }

  /** Syncs at once after a pause, when the page is seen again. */
  wake(): void {
    this.#client.retryImmediately();
  }

  subscribe(topic: string, listener: () => void): () => void {
    return this.#topics.subscribe(topic, listener);
  }

  // What views read.

  /** Topic `ready`: whether the first sync is done. */
  isReady(): boolean {
    return this.#ready;
  }

  /** Topic `ready`: why the first sync is not done, if the server says that it cannot. It is tried again and again. */
  trouble(): string | undefined {
    return this.#trouble;
  }

  /** Topic `me`. */
  myName(): string {
    return this.#topics.read("me", () => this.#client.getUser(this.userId)?.rawDisplayName ?? localpart(this.userId));
  }

  /** Topic `rooms`. */
  rooms(): readonly RoomSummary[] {
    return this.#topics.read("rooms", () => {
      const shown = this.#client.getRooms().filter((room) => ["join", "invite"].includes(room.getMyMembership()));
      return sortRooms(shown.map((room) => summaryOf(room, this.userId)));
    });
  }

  /** Topic `room:<id>`; undefined while the room is unknown. */
  room(roomId: string): RoomView | undefined {
    return this.#topics.read(`room:${roomId}`, () => {
      const room = this.#client.getRoom(roomId);
      if (!room) return undefined;
      return {
        roomId,
        name: nameOf(room),
        topic: topicOf(room),
        membership: room.getMyMembership(),
        joinRule: room.getJoinRule(),
        memberCount: room.getJoinedMemberCount(),
      };
    });
  }

  /** Topic `timeline:<id>`. */
  timeline(roomId: string): TimelineView {
    return this.#topics.read(`timeline:${roomId}`, () => {
      const room = this.#client.getRoom(roomId);
      if (!room) return { events: [], hasOlder: false };
      return { events: timelineOf(room), hasOlder: hasOlder(room) };
    });
  }

  /** Topic `members:<id>`: who is in or invited. */
  members(roomId: string): readonly Member[] {
    return this.#topics.read(`members:${roomId}`, () => {
      const room = this.#client.getRoom(roomId);
      return room ? sortMembers(membersOf(room)) : [];
    });
  }

  /** Topic `typing:<id>`: the names of others who write. */
  typing(roomId: string): readonly string[] {
    return this.#topics.read(`typing:${roomId}`, () => {
      const room = this.#client.getRoom(roomId);
      const writing = room?.getJoinedMembers().filter((one) => one.typing && one.userId !== this.userId) ?? [];
      return writing.map(({ userId }) => personOf(userId, room).name);
    });
  }

  /** Topic `via:<id>`: servers to join the room through. */
  viaOf(roomId: string): readonly string[] {
    return this.#topics.read(`via:${roomId}`, () => viaServers(this.members(roomId), serverOf(this.userId)));
  }

  // What users do.

  /** Makes a room that whoever has the link may join. */
  async createRoom(name: string, topic: string): Promise<string> {
    const { room_id } = await this.#client.createRoom({
      name,
      ...(topic && { topic }),
      preset: Preset.PublicChat,
      visibility: Visibility.Private,
    });
    return room_id;
  }

  async join(roomId: string, via: readonly string[]): Promise<void> {
    await this.#client.joinRoom(roomId, { viaServers: [...via] });
    this.#touchRoom(roomId);
  }

  /** Leaves a room, or declines its invitation. */
  async leave(roomId: string): Promise<void> {
    await this.#client.leave(roomId);
    this.#touchRoom(roomId);
  }

  /** Invites a user, by way of their server. */
  async invite(roomId: string, userId: string): Promise<void> {
    await this.#client.invite(roomId, userId);
  }

  /** Sends a text; its local echo shows what becomes of it. */
  send(roomId: string, body: string): void {
    const txnId = crypto.randomUUID();
    outbox.add({ userId: this.userId, roomId, txnId, body });
    void this.#deliver(roomId, txnId, body);
  }

  /** Tries again to send a message that failed. */
  retry(roomId: string, key: string): void {
    const room = this.#client.getRoom(roomId);
    const event = room && pending(room, key);
    if (room && event) void this.#client.resendEvent(event, room).then(() => outbox.remove(key), () => undefined);
  }

  /** Drops a message that failed. */
  discard(roomId: string, key: string): void {
    const room = this.#client.getRoom(roomId);
    const event = room && pending(room, key);
    if (event) this.#client.cancelPendingEvent(event);
    outbox.remove(key);
  }

  async redact(roomId: string, eventId: string): Promise<void> {
    const txnId = crypto.randomUUID();
    try {
      await this.#client.redactEvent(roomId, eventId, txnId);
    } catch (error) {
      // Pending, it would hide the message here alone, and nothing would be sent after it.
      this.discard(roomId, txnId);
      throw error;
    }
  }

  async loadOlder(roomId: string): Promise<void> {
    const room = this.#client.getRoom(roomId);
    if (!room) return;
    await this.#client.scrollback(room, PAGE_EVENTS);
    this.#topics.touch(`timeline:${roomId}`);
  }

  /** Loads everybody; a room begins with those who spoke. */
  async loadMembers(roomId: string): Promise<void> {
    await this.#client.getRoom(roomId)?.loadMembersIfNeeded();
    this.#touchRoom(roomId);
  }

  /** Says that the newest event was seen. */
  markRead(roomId: string): void {
    const room = this.#client.getRoom(roomId);
    const last = room?.getLiveTimeline().getEvents().findLast((event) => event.status === null);
    const eventId = last?.getId();
    if (!room || !last || !eventId) return;
    if (room.getEventReadUpTo(this.userId) === eventId && room.getUnreadNotificationCount() === 0) return;
    room.setUnreadNotificationCount(NotificationCountType.Total, 0);
    room.setUnreadNotificationCount(NotificationCountType.Highlight, 0);
    this.#topics.touch("rooms");
    this.#client.sendReadReceipt(last, undefined, true).catch(() => undefined);
  }

  setTyping(roomId: string, typing: boolean): void {
    this.#client.sendTyping(roomId, typing, TYPING_TIMEOUT_MS).catch(() => undefined);
  }

  async setMyName(name: string): Promise<void> {
    await this.#client.setDisplayName(name);
    this.#topics.touch("me", "rooms");
  }

  async #deliver(roomId: string, txnId: string, body: string): Promise<void> {
    try {
      await this.#client.sendTextMessage(roomId, body, txnId);
      outbox.remove(txnId);
    } catch {
      // The local echo says so, and offers to try again.
    }
  }

  /** What an earlier page could not get acknowledged. The server knows the transaction ids that it has seen. */
  async #resume(): Promise<void> {
    this.#unsent = outbox.list(this.userId);
    for (const room of this.#client.getRooms()) this.#resumeRoom(room);
    if (this.#unsent.length === 0) return;
    // The user has left their rooms, or joined them in another tab just now: of neither does the first sync tell.
    const { joined_rooms: joined } = await this.#client.getJoinedRooms();
    for (const { roomId, txnId } of this.#unsent) if (!joined.includes(roomId)) outbox.remove(txnId);
    this.#unsent = this.#unsent.filter(({ roomId }) => joined.includes(roomId));
  }

  /** Sends what an earlier page could not, once the user is seen to be in its room. */
  #resumeRoom(room: Room): void {
    if (room.getMyMembership() !== "join" || !this.#client.getRoom(room.roomId)) return;
    const kept = new Set(outbox.list(this.userId).map(({ txnId }) => txnId));
    const mine = this.#unsent.filter(({ roomId, txnId }) => roomId === room.roomId && kept.has(txnId));
    this.#unsent = this.#unsent.filter(({ roomId }) => roomId !== room.roomId);
    for (const { roomId, txnId, body } of mine) {
      if (hasArrived(room, txnId)) outbox.remove(txnId);
      else void this.#deliver(roomId, txnId, body);
    }
  }

  // What the SDK tells.

  #listen(): void {
    const client = this.#client;
    const timeline = (_event: MatrixEvent, room?: Room): void => this.#touchTimeline(room?.roomId);
    client.on(ClientEvent.Sync, (state, _before, data) => this.#synced(state, data?.error));
    client.on(ClientEvent.Room, (room) => {
      // The number of members comes after the events of a sync, and names no room.
      room.on(RoomEvent.Summary, () => this.#topics.touch(`room:${room.roomId}`, "rooms"));
      this.#resumeRoom(room);
      this.#touchRoom(room.roomId);
    });
    client.on(ClientEvent.DeleteRoom, (roomId) => this.#touchRoom(roomId));
    client.on(RoomEvent.Timeline, timeline);
    client.on(RoomEvent.Redaction, timeline);
    client.on(RoomEvent.LocalEchoUpdated, timeline);
    client.on(RoomEvent.TimelineReset, (room) => this.#touchTimeline(room?.roomId));
    client.on(MatrixEventEvent.Replaced, (event) => this.#touchTimeline(event.getRoomId()));
    client.on(RoomEvent.Name, (room) => this.#touchRoom(room.roomId));
    client.on(RoomEvent.MyMembership, (room) => {
      this.#resumeRoom(room);
      this.#touchRoom(room.roomId);
    });
    client.on(RoomStateEvent.Events, (event) => this.#touchRoom(event.getRoomId()));
    client.on(RoomStateEvent.Members, (event) => this.#touchRoom(event.getRoomId()));
    client.on(RoomMemberEvent.Typing, (_event, member) => this.#topics.touch(`typing:${member.roomId}`));
    client.on(ClientEvent.Event, (event) => {
      if (event.getType() === "m.presence") this.#topics.touch("me");
    });
  }

  #synced(state: SyncState, error: Error | undefined): void {
    // Unread counts come with the sync and have no event of their own.
    this.#topics.touch("rooms");
    if (this.#ready) return;
    this.#ready = state === SyncState.Prepared || state === SyncState.Syncing;
    if (state === SyncState.Error) this.#trouble = troubleOf(error);
    this.#topics.touch("ready", "rooms");
    if (!this.#ready) return;
    void this.#client.getProfileInfo(this.userId).then(
      ({ displayname }) => this.#knowMyName(displayname),
      () => undefined,
    );
    this.#resume().catch(() => undefined);
  }

  #knowMyName(name: string | undefined): void {
    if (name) this.#client.getUser(this.userId)?.setRawDisplayName(name);
    this.#topics.touch("me");
  }

  #touchTimeline(roomId: string | undefined): void {
    if (roomId) this.#topics.touch(`timeline:${roomId}`, "rooms");
  }

  #touchRoom(roomId: string | undefined): void {
    if (!roomId) return;
    this.#topics.touch(...["room", "members", "via", "typing"].map((topic) => `${topic}:${roomId}`));
    this.#touchTimeline(roomId);
  }
}

/** What the server says of its own failure; of a refusal, or of a connection that broke, nothing. */
function troubleOf(error: Error | undefined): string | undefined {
  if (!(error instanceof MatrixError) || (error.httpStatus ?? 0) < 500) return undefined;
  return error.data.error ?? error.message;
}

function hasOlder(room: Room): boolean {
  const timeline = room.getLiveTimeline();
  if (timeline.getPaginationToken(EventTimeline.BACKWARDS) === null) return false;
  return timeline.getEvents()[0]?.getType() !== "m.room.create";
}

/** Whether the server told of the message `txnId`, though its answer never came: sent again, it would show twice for a moment. */
function hasArrived(room: Room, txnId: string): boolean {
  return room.getLiveTimeline().getEvents().some((event) => event.getUnsigned().transaction_id === txnId);
}

function pending(room: Room, key: string): MatrixEvent | undefined {
  return room.getPendingEvents().find((event) => event.getTxnId() === key && event.status === EventStatus.NOT_SENT);
}

function membersOf(room: Room): Member[] {
  return room.getMembers().flatMap(({ userId, membership, powerLevel }): Member[] => {
    if (membership !== "join" && membership !== "invite") return [];
    const { name } = personOf(userId, room);
    return [{ userId, name, server: serverOf(userId), membership, admin: powerLevel >= 100 }];
  });
}
