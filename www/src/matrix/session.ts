/** The account on this browser's own homeserver. Its password is made here and kept beside the token, unless another client has set it. */
import { type LoginResponse, MatrixError, type RegisterResponse, createClient } from "matrix-js-sdk";
import { usernameFor, usernameWithSuffix } from "../domain/username.ts";
import { type Kept, type Session, sessionStore } from "./session-store.ts";
import { steadyFetch } from "./transport.ts";

export type { Session } from "./session-store.ts";

/** The Web Lock of whichever tab makes or renews the session. */
const LOCK = "hearth-session";
const DEVICE_NAME = "Hearth in a browser";
const ATTEMPTS = 5;
const RENEWAL_PAUSE_MS = 3_000;

/** The session of this browser, if it has one. */
export async function loadSession(): Promise<Session | undefined> {
  return whole(await sessionStore.read());
}

/** Tells of the session whenever another tab has changed it; undefined if it is gone. */
export function watchSession(tell: (session: Session | undefined) => void): () => void {
  return sessionStore.subscribe(() => void loadSession().then(tell, () => undefined));
}

/** Makes an account for `displayName` and keeps its session. The session that there is, if another tab was quicker. */
export function signUp(baseUrl: string, displayName: string): Promise<Session> {
  return navigator.locks.request(LOCK, async () => {
    const kept = await sessionStore.read();
    const known = whole(kept);
    if (known) return known;
    const password = kept?.password ?? randomPassword();
    await sessionStore.write({ password });
    const session = await makeAccount(baseUrl, usernameFor(displayName), password);
    await sessionStore.write(session);
    // The account is there, whatever it is called: a name can be set later.
    await nameUser(baseUrl, session, displayName).catch(() => undefined);
    return session;
  });
}

/** A session of an account that another client has made, or given another password. It takes the place of whichever there is. */
export function signIn(baseUrl: string, user: string, password: string): Promise<Session> {
  return navigator.locks.request(LOCK, async () => {
    const session = await logIn(baseUrl, user, password);
    if (!session) throw new Error("Your server knows no such user name and password.");
    await sessionStore.write(session);
    return session;
  });
}

/**
 * The session that follows upon one whose token is no longer known. Undefined if the server knows no such account and password: the
 * session is then forgotten. Tries until the server has said one or the other.
 */
export async function renewSession(baseUrl: string, lost: Session): Promise<Session | undefined> {
  for (;;) {
    try {
      return await navigator.locks.request(LOCK, () => renewed(baseUrl, lost));
    } catch {
      await new Promise((resolve) => setTimeout(resolve, RENEWAL_PAUSE_MS));
    }
  }
}

async function renewed(baseUrl: string, lost: Session): Promise<Session | undefined> {
  const known = await loadSession();
  // Another tab was quicker.
  if (known?.accessToken !== lost.accessToken) return known;
  const session = await logIn(baseUrl, lost.userId, lost.password, lost.deviceId);
  await (session ? sessionStore.write(session) : sessionStore.remove());
  return session;
}

async function makeAccount(baseUrl: string, wanted: string, password: string): Promise<Session> {
  const client = createClient({ baseUrl, fetchFn: steadyFetch });
  for (let attempt = 1; ; attempt++) {
    const username = attempt === 1 ? wanted : usernameWithSuffix(wanted, Math.random());
    try {
      const auth = { type: "m.login.dummy" };
      return sessionOf(await client.registerRequest({ username, password, auth, initial_device_display_name: DEVICE_NAME }), password);
    } catch (error) {
      if (!(error instanceof MatrixError && error.errcode === "M_USER_IN_USE")) throw error;
      // Perhaps by ourselves: the answer to an earlier attempt may not have come.
      const own = await logIn(baseUrl, username, password);
      if (own) return own;
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

/** A new session of an account; undefined if the server knows no such account and password. */
async function logIn(baseUrl: string, user: string, password: string, deviceId?: string): Promise<Session | undefined> {
  try {
    const answer = await createClient({ baseUrl, fetchFn: steadyFetch }).loginRequest({
      type: "m.login.password",
      identifier: { type: "m.id.user", user },
      password,
      ...(deviceId ? { device_id: deviceId } : { initial_device_display_name: DEVICE_NAME }),
    });
    return sessionOf(answer, password);
  } catch (error) {
    if (error instanceof MatrixError && (error.errcode === "M_FORBIDDEN" || error.errcode === "M_USER_DEACTIVATED")) return undefined;
    throw error;
  }
}

async function nameUser(baseUrl: string, { userId, accessToken }: Session, displayName: string): Promise<void> {
  await createClient({ baseUrl, userId, accessToken, fetchFn: steadyFetch }).setDisplayName(displayName);
}

function sessionOf(answer: RegisterResponse | LoginResponse, password: string): Session {
  if (!answer.access_token || !answer.device_id) throw new Error("the server gave no session");
  return { userId: answer.user_id, deviceId: answer.device_id, accessToken: answer.access_token, password };
}

function whole(kept: Kept | undefined): Session | undefined {
  return kept?.userId && kept.accessToken && kept.deviceId ? (kept as Session) : undefined;
}

function randomPassword(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
