/** A Matrix client of a few lines, for homeservers that are reached over HTTP. */

/** A registered user. */
export class Matrix {
  private transaction = 0;

  private constructor(
    private readonly url: string,
    private readonly accessToken: string,
    public readonly userId: string,
  ) {}

  /** Registers a user at the homeserver at `url`. */
  static async register(url: string, username: string): Promise<Matrix> {
    const response = await fetch(`${url}/_matrix/client/v3/register`, {
      method: "POST",
      body: JSON.stringify({ username, password: "a long password", auth: { type: "m.login.dummy" } }),
    });
    const body = (await response.json()) as { access_token: string; user_id: string };
    if (!response.ok) throw new Error(JSON.stringify(body));
    return new Matrix(url, body.access_token, body.user_id);
  }

  /** Asks the homeserver; anything but success is an error. */
  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.url}/_matrix/client/v3${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.accessToken}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer: unknown = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer as T;
  }

  /** Joins a room through `via`. */
  async join(room: string, via: string): Promise<void> {
    await this.request("POST", `/join/${encodeURIComponent(room)}?via=${via}&server_name=${via}`, {});
  }

  /** Sends a text message. */
  async send(room: string, body: string): Promise<string> {
    const path = `/rooms/${encodeURIComponent(room)}/send/m.room.message/test${this.transaction++}`;
    const answer = await this.request<{ event_id: string }>("PUT", path, { msgtype: "m.text", body });
    return answer.event_id;
  }

  /** The newest text messages of a room, newest first. */
  async messages(room: string): Promise<string[]> {
    const path = `/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=100`;
    const page = await this.request<{ chunk: { type: string; content: { body?: string } }[] }>("GET", path);
    return page.chunk.filter((event) => event.type === "m.room.message").map((event) => event.content.body ?? "");
  }
}
