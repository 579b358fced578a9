import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { loadSession, renewSession, signIn, signUp } from "./session.ts";
import { type Kept, sessionStore } from "./session-store.ts";

const HERE = "https://hearth.example";
const ADA = { userId: "@ada:here", deviceId: "D", accessToken: "old", password: "secret" };

/** What the store keeps, in place of IndexedDB. */
let kept: Kept | undefined;
/** What the homeserver is asked, and what is kept at that moment. */
let asked: { path: string; body: { username?: string; password?: string }; kept: Kept | undefined }[];

vi.mock("./session-store.ts", () => ({
  sessionStore: { read: async () => kept, write: async (next: Kept) => (kept = next), remove: async () => (kept = undefined) },
}));

/** A homeserver that answers with what `answer` says of a path. */
function homeserver(answer: (path: string) => [status: number, body: object]): void {
  vi.stubGlobal("fetch", async (input: URL | string, init: RequestInit) => {
    const { pathname } = new URL(input.toString());
    const path = pathname.slice(pathname.lastIndexOf("/") + 1);
    asked.push({ path, body: JSON.parse(init.body as string) as (typeof asked)[number]["body"], kept });
    const [status, body] = answer(path);
    return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
  });
}

const session = (token: string): object => ({ user_id: "@ada:here", device_id: "D", access_token: token });
const paths = (): string[] => asked.map(({ path }) => path);

beforeEach(() => {
  kept = undefined;
  asked = [];
  let held: Promise<unknown> = Promise.resolve();
  const request = (_name: string, use: () => Promise<unknown>): Promise<unknown> => (held = held.catch(() => undefined).then(use));
  vi.stubGlobal("navigator", { locks: { request } });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

test("the password is kept before there is an account, the session before it has a name", async () => {
  homeserver(() => [200, session("new")]);
  const made = await signUp(HERE, "Ada");
  expect(paths()).toEqual(["register", "displayname"]);
  expect(asked[0]?.kept).toEqual({ password: made.password });
  expect(asked[0]?.body.password).toBe(made.password);
  expect(asked[1]?.kept).toEqual(made);
});

test("whom nobody can name has an account all the same", async () => {
  homeserver((path) => (path === "register" ? [200, session("new")] : [400, { errcode: "M_UNKNOWN" }]));
  await signUp(HERE, "Ada");
  expect(await loadSession()).toMatchObject({ accessToken: "new" });
});

test("of two tabs the second finds the account of the first", async () => {
  homeserver(() => [200, session("new")]);
  const [first, second] = await Promise.all([signUp(HERE, "Ada"), signUp(HERE, "Grace")]);
  expect(second).toEqual(first);
  expect(paths().filter((path) => path === "register")).toHaveLength(1);
});

test("an account whose answer was lost is found by its password", async () => {
  kept = { password: "kept" };
  homeserver((path) => (path === "register" ? [400, { errcode: "M_USER_IN_USE" }] : [200, session("found")]));
  expect(await signUp(HERE, "Ada")).toMatchObject({ accessToken: "found", password: "kept" });
  expect(asked[1]).toMatchObject({ path: "login", body: { password: "kept" } });
});

test("a name that somebody else has gets a suffix", async () => {
  const taken = new Set(["ada"]);
  homeserver((path) => {
    if (path === "login") return [403, { errcode: "M_FORBIDDEN" }];
    return taken.has(asked.at(-1)?.body.username ?? "") ? [400, { errcode: "M_USER_IN_USE" }] : [200, session("new")];
  });
  await signUp(HERE, "Ada");
  expect(paths()).toEqual(["register", "login", "register", "displayname"]);
  expect(asked[2]?.body.username).toMatch(/^ada-.{4}$/);
});

test("a token that is no longer known is replaced", async () => {
  kept = ADA;
  homeserver(() => [200, session("new")]);
  expect(await renewSession(HERE, ADA)).toEqual({ ...ADA, accessToken: "new" });
  expect(await loadSession()).toMatchObject({ accessToken: "new" });
});

test("a session is forgotten only if the server refuses it", async () => {
  vi.useFakeTimers();
  kept = ADA;
  const answers: [number, object][] = [[500, { errcode: "M_UNKNOWN" }], [429, { errcode: "M_LIMIT_EXCEEDED" }], [403, { errcode: "M_FORBIDDEN" }]];
  const keptMeanwhile: unknown[] = [];
  homeserver(() => {
    keptMeanwhile.push(kept);
    return answers[keptMeanwhile.length - 1] ?? [500, {}];
  });
  const renewed = renewSession(HERE, ADA);
  await vi.runAllTimersAsync();
  expect(await renewed).toBeUndefined();
  expect(keptMeanwhile).toEqual([ADA, ADA, ADA]);
  expect(await sessionStore.read()).toBeUndefined();
});

test("a session that another tab has replaced is taken, and not forgotten", async () => {
  const theirs = { ...ADA, accessToken: "theirs" };
  kept = theirs;
  homeserver(() => [403, { errcode: "M_FORBIDDEN" }]);
  expect(await renewSession(HERE, ADA)).toEqual(theirs);
  expect(kept).toEqual(theirs);
  expect(asked).toEqual([]);
});

test("who signs in with a password of their own keeps it, also over one that was lost", async () => {
  kept = { password: "unused" };
  homeserver(() => [200, session("new")]);
  await signIn(HERE, "@ada:here", "typed");
  expect(asked[0]?.body).toMatchObject({ identifier: { user: "@ada:here" }, password: "typed" });
  expect(await loadSession()).toEqual({ ...ADA, accessToken: "new", password: "typed" });
});

test("a wrong password is said to be one, and nothing is kept of it", async () => {
  kept = { password: "unused" };
  homeserver(() => [403, { errcode: "M_FORBIDDEN" }]);
  await expect(signIn(HERE, "ada", "wrong")).rejects.toThrow("no such user name and password");
  expect(kept).toEqual({ password: "unused" });
});
