/** Who calls in a walk, and the few things that many calls need first. */
import { text } from "./exchange.ts";
import type { Content, Parameters, Walk } from "./walk.ts";

/** Any answer. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- its shape is the document's to check
export type Json = any;

/** The password of every account of a walk. */
export const PASSWORD = "a long password";

/** Where most routes are. */
const CLIENT = "/_matrix/client";

export class User {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string | undefined;
  private transaction = 0;

  constructor(
    readonly walk: Walk,
    session: { user_id?: string; device_id?: string; access_token?: string },
  ) {
    this.userId = session.user_id ?? "";
    this.deviceId = session.device_id ?? "";
    this.token = session.access_token;
  }

  /** Name of the homeserver. */
  get server(): string {
    return this.userId.slice(this.userId.indexOf(":") + 1);
  }

  /** Calls a route that must answer. Paths of the client API may be told from the version on. */
  async good(route: string, parameters: Parameters = {}, json?: unknown): Promise<Json> {
    const answer = await this.walk.good({ route: whole(route), token: this.token, parameters, content: body(json) });
    return JSON.parse(text(answer)) as Json;
  }

  /** Calls a route that must refuse. */
  async bad(status: number, errcode: string | undefined, route: string, parameters: Parameters = {}, json?: unknown): Promise<Json> {
    const call = { route: whole(route), token: this.token, parameters, content: body(json) };
    return JSON.parse(text(await this.walk.bad(call, status, errcode))) as Json;
  }

  /** Calls a route that must answer with a file. Its bytes. */
  async file(route: string, parameters: Parameters): Promise<Buffer> {
    const answer = await this.walk.good({ route: whole(route), token: this.token, parameters });
    return Buffer.from(answer.body, "base64");
  }

  /** Sends a file. */
  async upload(route: string, bytes: Uint8Array, type: string): Promise<{ serverName: string; mediaId: string }> {
    const call = { route, token: this.token, parameters: { filename: "file" }, content: { bytes, type } };
    const { content_uri } = JSON.parse(text(await this.walk.good(call))) as { content_uri: string };
    const [, , serverName = "", mediaId = ""] = content_uri.split("/");
    return { serverName, mediaId };
  }

  /** Calls a route with a method that it does not have. Section "Common error codes". */
  async wrongMethod(route: string): Promise<void> {
    await this.walk.bad({ route: whole(route), method: "PATCH", token: this.token }, 405, "M_UNRECOGNIZED");
  }

  /** What proves who this is. Section "Password-based". */
  auth(session?: string): object {
    const identifier = { type: "m.id.user", user: this.userId };
    return { type: "m.login.password", identifier, password: PASSWORD, ...(session ? { session } : {}) };
  }

  async createRoom(options: object = {}): Promise<string> {
    return ((await this.good("POST /v3/createRoom", {}, options)) as { room_id: string }).room_id;
  }

  async join(roomIdOrAlias: string): Promise<void> {
    await this.good("POST /v3/join/{roomIdOrAlias}", { roomIdOrAlias }, {});
  }

  /** Sends a message. */
  async say(roomId: string, body: string, extra: object = {}): Promise<string> {
    const parameters = { roomId, eventType: "m.room.message", txnId: `walk${this.transaction++}` };
    const content = { msgtype: "m.text", body, ...extra };
    const answer = await this.good("PUT /v3/rooms/{roomId}/send/{eventType}/{txnId}", parameters, content);
    return (answer as { event_id: string }).event_id;
  }

  /** Sets state. */
  async set(roomId: string, eventType: string, stateKey: string, content: object): Promise<void> {
    await this.good("PUT /v3/rooms/{roomId}/state/{eventType}/{stateKey}", { roomId, eventType, stateKey }, content);
  }
}

function whole(route: string): string {
  return route.replace(/ \/v(\d)/, ` ${CLIENT}/v$1`);
}

function body(json: unknown): Content | undefined {
  return json === undefined ? undefined : { json };
}
