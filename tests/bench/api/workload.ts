/** What is measured of the Client-Server API. Every figure is in milliseconds. */
import { type Sync, User } from "./client.ts";

/** How much of everything. */
export interface Size {
  registrations: number;
  sends: number;
  rooms: number;
  messages: number;
  joins: number;
  members: number;
}

export type Figures = Record<string, number>;

const MEGABYTE = 1024 * 1024;
const IN_FLIGHT = 16;

/** Runs everything against the homeserver at `baseUrl`, one part after the other. */
export async function measure(baseUrl: string, size: Size): Promise<Figures> {
  const figures: Figures = {};
  const users: User[] = [];
  const registering = await times(size.registrations, async (index) => {
    users.push(await User.register(baseUrl, `user${index}`));
  });
  figures["register"] = median(registering);
  const [host, guest] = users as [User, User];

  figures["create_room"] = median(await times(20, async (index) => void (await host.createRoom(`Room ${index}`))));
  await sending(figures, host, guest, size.sends);
  await reading(figures, await User.register(baseUrl, "reader"), size);
  await crowd(figures, baseUrl, host, size);
  await media(figures, host);
  return figures;
}

/** Messages one by one, many at a time, and until another user's long-poll tells of them; then a page of them. */
async function sending(figures: Figures, host: User, guest: User, count: number): Promise<void> {
  const room = await host.createRoom("Messages");
  await guest.join(room);
  figures["send"] = median(await times(count, async (index) => void (await host.send(room, `message ${index}`))));
  const start = performance.now();
  await atOnce(count, IN_FLIGHT, (index) => host.send(room, `more ${index}`));
  figures["send_16_in_flight_each"] = (performance.now() - start) / count;
  figures["send_to_long_poll"] = median(await arrivals(host, guest, room, 40));
  const page = `/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=100`;
  figures["messages_page_of_100"] = median(
    await times(20, async () => {
      const { chunk } = await host.ask<{ chunk: unknown[] }>("GET", page);
      check(chunk.length === 100, "a page of 100");
    }),
  );
}

/** The times from the start of a send to the end of the `/sync` that told another user of it. */
async function arrivals(from: User, to: User, room: string, count: number): Promise<number[]> {
  const filter = { room: { rooms: [room], timeline: { limit: 5 } } };
  let since = (await to.sync(filter)).next_batch;
  const found: number[] = [];
  for (let index = 0; index < count; index++) {
    const polling = arrival(to, filter, since, room);
    const start = performance.now();
    const event = await from.send(room, `tick ${index}`);
    for (let told = await polling; ; told = await arrival(to, filter, told.since, room)) {
      since = told.since;
      if (!told.events.includes(event)) continue;
      found.push(told.at - start);
      break;
    }
  }
  return found;
}

async function arrival(
  user: User,
  filter: object,
  since: string,
  room: string,
): Promise<{ since: string; at: number; events: string[] }> {
  const sync = await user.sync(filter, since, 20_000);
  const events = sync.rooms?.join?.[room]?.timeline.events ?? [];
  return { since: sync.next_batch, at: performance.now(), events: events.map(({ event_id }) => event_id) };
}

/** First and later syncs of a user with many rooms. */
async function reading(figures: Figures, reader: User, { rooms, messages }: Size): Promise<void> {
  for (let index = 0; index < rooms; index++) {
    const room = await reader.createRoom(`Room ${index}`);
    await atOnce(messages, IN_FLIGHT, (message) => reader.send(room, `message ${message}`));
  }
  const filter = { room: { timeline: { limit: messages } } };
  let last: Sync | undefined;
  figures["initial_sync_of_100_rooms"] = median(
    await times(5, async () => {
      last = await reader.sync(filter);
      const joined = Object.values(last.rooms?.join ?? {});
      check(joined.length === rooms, "every room");
      check(joined.every(({ timeline }) => timeline.events.length === messages), "every message");
    }),
  );
  const since = last?.next_batch;
  figures["idle_sync"] = median(await times(50, async () => void (await reader.sync(filter, since))));
}

/** Joins of one room, and the first sync of a room with very many members. */
async function crowd(figures: Figures, baseUrl: string, host: User, { joins, members }: Size): Promise<void> {
  const room = await host.createRoom("Everybody");
  const guests: User[] = [];
  await atOnce(members - 1, 4, async (index) => {
    guests.push(await User.register(baseUrl, `guest${index}`));
  });
  const start = performance.now();
  for (const guest of guests.slice(0, joins)) await guest.join(room);
  figures["200_joins"] = performance.now() - start;
  await atOnce(guests.length - joins, 4, (index) => (guests[joins + index] as User).join(room));
  for (const [name, lazy] of [["sync_of_1000_members", false], ["sync_of_1000_members_lazily", true]] as const) {
    const filter = { room: { rooms: [room], timeline: { limit: 20 }, state: { lazy_load_members: lazy } } };
    figures[name] = median(
      await times(7, async () => {
        const joined = (await host.sync(filter)).rooms?.join?.[room];
        const told = (joined?.state.events.length ?? 0) + (joined?.timeline.events.length ?? 0);
        check(lazy ? told > 20 && told < members : told >= members, `${told} events`);
      }),
    );
  }
}

/** A file of 1 MiB, up and down. */
async function media(figures: Figures, user: User): Promise<void> {
  const files: string[] = [];
  const file = (index: number): Blob => {
    const bytes = new Uint8Array(MEGABYTE);
    for (let at = 0; at < MEGABYTE; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
    bytes[0] = index;
    return new Blob([bytes]);
  };
  const made = Array.from({ length: 10 }, (_, index) => file(index));
  figures["upload_1_mib"] = median(await times(10, async (index) => void files.push(await user.upload(made[index] as Blob))));
  figures["download_1_mib"] = median(
    await times(10, async (index) => check((await user.download(files[index] ?? "")) === MEGABYTE, "the whole file")),
  );
}

/** Does something `count` times, one after the other: how long each took. */
async function times(count: number, task: (index: number) => Promise<void>): Promise<number[]> {
  const found: number[] = [];
  for (let index = 0; index < count; index++) {
    const start = performance.now();
    await task(index);
    found.push(performance.now() - start);
  }
  return found;
}

/** Does something `count` times, `width` at once. */
async function atOnce(count: number, width: number, task: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all(Array.from({ length: width }, lane));
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not ${what}`);
}
