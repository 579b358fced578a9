/** The Matrix API by `fetch` and nothing else: the same code asks from Node and from a page. */

/** A user who is signed in. */
export class User {
  private static transactions = 0;

  private constructor(
    private readonly baseUrl: string,
    private readonly token: string,
    public readonly userId: string,
  ) {}

  static async register(baseUrl: string, username: string): Promise<User> {
    const body = { username, password: "a long password", auth: { type: "m.login.dummy" } };
    const response = await fetch(`${baseUrl}/_matrix/client/v3/register`, json("POST", body));
    const answer = await successful<{ access_token: string; user_id: string }>(response);
    return new User(baseUrl, answer.access_token, answer.user_id);
  }

  /** Asks below `/_matrix/client/v3`; anything but success is an error. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init = body === undefined ? { method } : json(method, body);
    return successful<T>(await this.fetch(`/_matrix/client/v3${path}`, init));
  }

  async createRoom(name: string): Promise<string> {
    // Of one version everywhere, and open to all.
    const room = { name, preset: "public_chat", room_version: "11" };
    return (await this.ask<{ room_id: string }>("POST", "/createRoom", room)).room_id;
  }

  async join(room: string): Promise<void> {
    await this.ask("POST", `/join/${encodeURIComponent(room)}`, {});
  }

  async send(room: string, body: string): Promise<string> {
    const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/bench${User.transactions++}`;
    return (await this.ask<{ event_id: string }>("PUT", path, { msgtype: "m.text", body })).event_id;
  }

  /** `/sync` with a filter, each time another: Synapse keeps its answers for a while. */
  sync(filter: object, since?: string, timeout = 0): Promise<Sync> {
    const unlike = { ...filter, presence: { not_types: [`bench${User.transactions++}`] } };
    const query = new URLSearchParams({ filter: JSON.stringify(unlike), timeout: String(timeout) });
    if (since !== undefined) query.set("since", since);
    return this.ask<Sync>("GET", `/sync?${query.toString()}`);
  }

  /**
   * Uploads a file. Its server and id. It is a `Blob`, as what somebody picks or drops is: of a body that is an array the
   * debugger by which a browser is driven takes a copy, as text, which takes longer than all the rest.
   */
  async upload(file: Blob): Promise<string> {
    const init = { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file };
    const response = await this.fetch("/_matrix/media/v3/upload?filename=file", init);
    return (await successful<{ content_uri: string }>(response)).content_uri.replace("mxc://", "");
  }

  /** Downloads a file. Its size. */
  async download(file: string): Promise<number> {
    const response = await this.fetch(`/_matrix/client/v1/media/download/${file}`, {});
    if (!response.ok) throw new Error(`${response.status}`);
    return (await response.arrayBuffer()).byteLength;
  }

  private fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = { ...init.headers, Authorization: `Bearer ${this.token}` };
    return fetch(`${this.baseUrl}${path}`, { ...init, headers });
  }
}

/** What is read of a `/sync`. */
export interface Sync {
  next_batch: string;
  rooms?: { join?: Record<string, { timeline: { events: { event_id: string }[] }; state: { events: unknown[] } }> };
}

function json(method: string, body: unknown): RequestInit {
  return { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

async function successful<T>(response: Response): Promise<T> {
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${JSON.stringify(answer)}`);
  return answer as T;
}
