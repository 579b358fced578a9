/** Rooms as a client sees them after decryption: messages, edits, reactions, threads, search, spaces. */
import {
  EventTimeline,
  EventType,
  HistoryVisibility,
  type MatrixClient,
  type MatrixEvent,
  MsgType,
  Preset,
  RelationType,
  type Room,
  SearchOrderBy,
  Visibility,
} from "matrix-js-sdk";
import type { RoomMessageEventContent } from "matrix-js-sdk/lib/types.js";

/** A message as it is shown. */
export interface Message {
  id: string;
  sender: string;
  body: string;
  encrypted: boolean;
  edited: boolean;
}

export class Conversations {
  constructor(private readonly client: MatrixClient) {}

  /** Makes a room and invites `invite`. */
  async create(options: { invite: string[]; encrypted: boolean; name: string; space?: boolean }): Promise<string> {
    const encryption = { type: EventType.RoomEncryption, state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
    const { room_id } = await this.client.createRoom({
      name: options.name,
      preset: Preset.PrivateChat,
      visibility: Visibility.Private,
      invite: options.invite,
      initial_state: options.encrypted ? [encryption] : [],
      ...(options.space ? { creation_content: { type: "m.space" } } : {}),
    });
    return room_id;
  }

  /** Gives a room another name. */
  async rename(roomId: string, name: string): Promise<void> {
    await this.client.setRoomName(roomId, name);
  }

  /** The name of a room, as this client knows it. */
  name(roomId: string): string | undefined {
    return this.client.getRoom(roomId)?.name;
  }

  /** What the user is in a room; undefined for one that the client has not heard of. */
  membership(roomId: string): string | undefined {
    return this.client.getRoom(roomId)?.getMyMembership();
  }

  /** Who is in a room. */
  members(roomId: string): string[] {
    return this.client.getRoom(roomId)?.getJoinedMembers().map(({ userId }) => userId) ?? [];
  }

  async join(roomId: string): Promise<void> {
    await this.client.joinRoom(roomId);
  }

  /** Lets everybody read a room from now on. */
  async show(roomId: string): Promise<void> {
    const content = { history_visibility: HistoryVisibility.WorldReadable };
    await this.client.sendStateEvent(roomId, EventType.RoomHistoryVisibility, content);
  }

  /** Reads a room without joining it, and follows what happens there. */
  async peek(roomId: string): Promise<void> {
    await this.client.peekInRoom(roomId);
  }

  /** Sends a text. */
  async say(roomId: string, body: string): Promise<string> {
    return (await this.client.sendTextMessage(roomId, body)).event_id;
  }

  /** Answers in the thread under `root`. */
  async sayInThread(roomId: string, root: string, body: string): Promise<string> {
    return (await this.client.sendTextMessage(roomId, root, body)).event_id;
  }

  /** Replaces the text of an own message. */
  async edit(roomId: string, eventId: string, body: string): Promise<void> {
    const content: RoomMessageEventContent = {
      msgtype: MsgType.Text,
      body: `* ${body}`,
      "m.new_content": { msgtype: MsgType.Text, body },
      "m.relates_to": { rel_type: RelationType.Replace, event_id: eventId },
    };
    await this.client.sendMessage(roomId, content);
  }

  async react(roomId: string, eventId: string, key: string): Promise<void> {
    await this.client.sendEvent(roomId, EventType.Reaction, {
      "m.relates_to": { rel_type: RelationType.Annotation, event_id: eventId, key },
    });
  }

  /** The messages of a room's main timeline that are loaded, oldest first. */
  messages(roomId: string): Message[] {
    return this.client.getRoom(roomId)?.getLiveTimeline().getEvents().flatMap(shown) ?? [];
  }

  /** The texts among them. */
  texts(roomId: string): string[] {
    return this.messages(roomId).map(({ body }) => body);
  }

  /** Loads older messages until there are none. */
  async loadAll(roomId: string): Promise<void> {
    const room = this.room(roomId);
    while (room.getLiveTimeline().getPaginationToken(EventTimeline.BACKWARDS) !== null) {
      await this.client.scrollback(room, 30);
    }
  }

  /** Who reacted to a message with which key. */
  reactions(roomId: string, eventId: string): Record<string, string[]> {
    const found = this.room(roomId).relations.getChildEventsForEvent(eventId, RelationType.Annotation, EventType.Reaction);
    const byKey = found?.getSortedAnnotationsByKey() ?? [];
    return Object.fromEntries(byKey.map(([key, events]) => [key, [...events].map((event) => event.getSender() ?? "")]));
  }

  /** A thread as this client knows it: how many answers the server counts, and the texts that are loaded. */
  thread(roomId: string, root: string): { length: number; texts: string[] } | undefined {
    const thread = this.client.getRoom(roomId)?.getThread(root);
    if (!thread) return undefined;
    return { length: thread.length, texts: thread.events.flatMap(shown).map(({ body }) => body) };
  }

  /** The threads of a room, as the server lists them: their first messages. */
  async threads(roomId: string): Promise<string[]> {
    const { chunk } = await this.client.createThreadListMessagesRequest(roomId, null);
    return chunk.map(({ event_id }) => event_id);
  }

  /** The events that relate to a message by `relation`, as the server lists them: newest first. */
  async relations(roomId: string, eventId: string, relation: string): Promise<string[]> {
    const { events } = await this.client.relations(roomId, eventId, relation, null);
    return events.map((event) => event.getId() ?? "");
  }

  /** The texts that a search of all rooms finds, best first, and how many the server says there are. */
  async search(term: string): Promise<{ count: number; texts: string[] }> {
    const { search_categories } = await this.client.search({
      body: { search_categories: { room_events: { search_term: term, order_by: SearchOrderBy.Rank } } },
    });
    const { count, results } = search_categories.room_events;
    return { count: count ?? 0, texts: (results ?? []).map(({ result }) => String(result.content["body"])) };
  }

  /** Puts a room into a space. */
  async addToSpace(space: string, roomId: string): Promise<void> {
    const via = [roomId.includes(":") ? roomId.slice(roomId.indexOf(":") + 1) : (this.client.getDomain() ?? "")];
    await this.client.sendStateEvent(space, EventType.SpaceChild, { via, suggested: true }, roomId);
  }

  /** The rooms of a space, itself included, by name. */
  async hierarchy(space: string): Promise<string[]> {
    const { rooms } = await this.client.getRoomHierarchy(space);
    return rooms.map(({ room_id, name }) => name ?? room_id);
  }

  private room(roomId: string): Room {
    const room = this.client.getRoom(roomId);
    if (!room) throw new Error(`no room ${roomId}`);
    return room;
  }
}

/** What a client shows of an event: one message, or nothing. */
function shown(event: MatrixEvent): Message[] {
  const { body } = event.getContent<{ body?: string }>();
  const wanted = event.getType() === EventType.RoomMessage && !event.isRelation(RelationType.Replace);
  if (!wanted || body === undefined) return [];
  const edited = event.replacingEvent() !== null;
  return [{ id: event.getId() ?? "", sender: event.getSender() ?? "", body, encrypted: event.isEncrypted(), edited }];
}
