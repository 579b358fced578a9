/** The account on this browser's own homeserver. Nobody types its password: it is made here and kept beside the token. */
import { MatrixError, createClient } from "matrix-js-sdk";
import { usernameFor, usernameWithSuffix } from "../domain/username.ts";
import { steadyFetch } from "./transport.ts";

const KEY = "hearth.session";
const DEVICE_NAME = "Hearth in a browser";
const ATTEMPTS = 5;

export interface Session {
  userId: string;
  deviceId: string;
  accessToken: string;
  password: string;
}

/** The session of this browser, if it has one. */
export function loadSession(): Session | undefined {
  try {
    const value = JSON.parse(localStorage.getItem(KEY) ?? "null") as Partial<Session> | null;
    if (!value?.userId || !value.accessToken || !value.deviceId) return undefined;
    return { userId: value.userId, deviceId: value.deviceId, accessToken: value.accessToken, password: value.password ?? "" };
  } catch {
    return undefined;
  }
}

export function forgetSession(): void {
  localStorage.removeItem(KEY);
}

/** Makes an account for `displayName` and keeps its session. */
export async function signUp(baseUrl: string, displayName: string): Promise<Session> {
  const client = createClient({ baseUrl, fetchFn: steadyFetch });
  const wanted = usernameFor(displayName);
  const password = randomPassword();
  for (let attempt = 1; ; attempt++) {
    const username = attempt === 1 ? wanted : usernameWithSuffix(wanted, Math.random());
    try {
      const answer = await client.registerRequest({
        username,
        password,
        auth: { type: "m.login.dummy" },
        initial_device_display_name: DEVICE_NAME,
      });
      if (!answer.access_token || !answer.device_id) throw new Error("the server gave no session");
      const session = { userId: answer.user_id, deviceId: answer.device_id, accessToken: answer.access_token, password };
      await nameUser(baseUrl, session, displayName);
      return keep(session);
    } catch (error) {
      const taken = error instanceof MatrixError && error.errcode === "M_USER_IN_USE";
      if (!taken || attempt === ATTEMPTS) throw error;
    }
  }
}

/** A new token for a session whose old one is no longer known. */
export async function signInAgain(baseUrl: string, session: Session): Promise<Session> {
  const client = createClient({ baseUrl, fetchFn: steadyFetch });
  const answer = await client.loginRequest({
    type: "m.login.password",
    identifier: { type: "m.id.user", user: session.userId },
    password: session.password,
    device_id: session.deviceId,
  });
  return keep({ ...session, accessToken: answer.access_token, deviceId: answer.device_id });
}

async function nameUser(baseUrl: string, { userId, accessToken }: Session, displayName: string): Promise<void> {
  await createClient({ baseUrl, userId, accessToken, fetchFn: steadyFetch }).setDisplayName(displayName);
}

function keep(session: Session): Session {
  localStorage.setItem(KEY, JSON.stringify(session));
  return session;
}

function randomPassword(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(24)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
