/**
 * A walk over the endpoints of a homeserver: every call has an expected outcome, every answer is held against the
 * specification's document, and it is remembered which endpoints were called, well and badly. It knows nothing of Hearth.
 */
import { type Answer, type Request, type Transport, text } from "./exchange.ts";
import { SLIDING_SYNC } from "./sliding_sync.ts";
import type { Operation, Specification } from "./specification.ts";
import { PASSWORD, User } from "./user.ts";
import { Validation } from "./validation.ts";

/** Paths under which another one is served too. */
const ALIASES = [
  ["/_matrix/client/r0/", "/_matrix/client/v3/"],
  ["/_matrix/media/r0/", "/_matrix/media/v3/"],
  ["/_matrix/client/unstable/keys/", "/_matrix/client/v3/keys/"],
] as const;

const SLIDING_SYNC_ROUTE = "POST /_matrix/client/unstable/org.matrix.simplified_msc3575/sync";

/** What fills a route: parameters of the path by name; all others belong to the query. */
export type Parameters = Record<string, string | number | boolean>;

/** A body: a JSON value, or the bytes of a file. */
export type Content = { json: unknown } | { text: string } | { bytes: Uint8Array; type: string };

/** A call by somebody. */
export interface Call {
  /** Method and path, with parameters as `{name}`. */
  route: string;
  /** Another method than the route's. */
  method?: string;
  token?: string | undefined;
  parameters?: Parameters | undefined;
  content?: Content | undefined;
  headers?: Record<string, string>;
}

/** What has been asked of one row. */
interface Visits {
  good: number;
  bad: number;
  statuses: Set<number>;
}

export class Walk {
  /** What was answered otherwise than expected, in words. */
  readonly problems: string[] = [];
  private readonly visits = new Map<string, Visits>();
  private readonly validation = new Validation();
  private readonly begun = new Set<string>();

  constructor(
    private readonly transport: Transport,
    private readonly url: string,
    private readonly specification: Specification,
    /** Whether there is a TURN server: where there is none, the document has no answer. */
    readonly hasTurn: boolean,
  ) {}

  /** Somebody without an account. */
  get nobody(): User {
    return new User(this, {});
  }

  /** Makes an account. */
  async register(username: string, extra: object = {}): Promise<User> {
    const account = { username, password: PASSWORD, auth: { type: "m.login.dummy" }, ...extra };
    return new User(this, await this.nobody.good("POST /v3/register", {}, account));
  }

  /** Calls, and expects success: the rest of the walk needs it. Before the first call of a route it is called badly. */
  async good(call: Call): Promise<Answer> {
    if (!this.begun.has(call.route)) {
      this.begun.add(call.route);
      await this.spoil(call);
    }
    const answer = await this.call(call);
    if (answer.status !== 200) throw new Error(told(call, answer));
    this.visited(call.route).good++;
    return answer;
  }

  /** Calls, and expects a refusal: its `errcode` is undefined where the answer asks for authentication. */
  async bad(call: Call, status: number, errcode: string | undefined): Promise<Answer> {
    const answer = await this.call(call);
    const found = answer.status < 400 ? undefined : (JSON.parse(text(answer)) as { errcode?: string }).errcode;
    if (answer.status !== status || found !== errcode) this.problems.push(`${status} ${errcode} was expected: ${told(call, answer)}`);
    this.visited(call.route).bad++;
    return answer;
  }

  /** Asks whether other origins may call a path. Section "Web Browser Clients": any path may be asked for so. */
  async preflight(path: string): Promise<void> {
    const { status, headers } = await this.send({ route: `OPTIONS ${path}` });
    const methods = headers["access-control-allow-methods"]?.split(/, */) ?? [];
    const allowed = headers["access-control-allow-headers"]?.toLowerCase().split(/, */) ?? [];
    const missing = [
      ...["GET", "POST", "PUT", "DELETE", "OPTIONS"].filter((method) => !methods.includes(method)),
      ...["x-requested-with", "content-type", "authorization"].filter((header) => !allowed.includes(header)),
    ];
    if (![200, 204].includes(status) || headers["access-control-allow-origin"] !== "*") missing.push("anything");
    if (missing.length > 0) this.problems.push(`OPTIONS ${path} is answered with ${status}, without ${missing.join(", ")}`);
    this.visited("OPTIONS /_matrix/{rest}").good++;
  }

  /** Asks for what nobody serves. Section "Common error codes". */
  async unrecognized(path: string): Promise<void> {
    const answer = await this.send({ route: `GET ${path}` });
    const { errcode } = JSON.parse(text(answer)) as { errcode?: string };
    if (answer.status !== 404 || errcode !== "M_UNRECOGNIZED") this.problems.push(`GET ${path}: ${answer.status} ${errcode}`);
    this.visited("OPTIONS /_matrix/{rest}").bad++;
  }

  /** The rows of the specification's list that were not called both well and badly. */
  left(): string[] {
    const rows = this.specification.rows ?? [];
    return rows.filter((row) => !this.visits.get(row)?.good || !this.visits.get(row)?.bad);
  }

  /** The refusals that the document names for the rows, and that no call met. Rate limits are not among them. */
  unmet(): string[] {
    const rows = this.specification.rows ?? [];
    return rows.flatMap((row) => {
      const documented = Object.keys(this.documented(row)?.responses ?? {}).map(Number);
      const refusals = documented.filter((status) => status >= 400 && status < 500 && status !== 429);
      return refusals.filter((status) => !this.visits.get(row)?.statuses.has(status)).map((status) => `${status} ${row}`);
    });
  }

  /** The ways in which any call of a route can be wrong: who calls, and what is sent. Client-Server API, "Common error codes". */
  private async spoil(call: Call): Promise<void> {
    const { security, requestBody } = this.operation(call.route);
    if (security?.every((way) => "accessTokenBearer" in way)) {
      await this.bad({ ...call, token: undefined }, 401, "M_MISSING_TOKEN");
      await this.bad({ ...call, token: "unknown" }, 401, "M_UNKNOWN_TOKEN");
    }
    if (requestBody?.content["application/json"]) {
      await this.bad({ ...call, content: { text: "{" } }, 400, "M_NOT_JSON");
      await this.bad({ ...call, content: { json: [] } }, 400, "M_BAD_JSON");
    }
  }

  private async call(call: Call): Promise<Answer> {
    const answer = await this.send(call);
    const problems = this.validation.problems(this.operation(call.route), answer);
    // Section "Web Browser Clients".
    if (answer.headers["access-control-allow-origin"] !== "*") problems.push("other origins may not read it");
    if (problems.length > 0) this.problems.push(`${problems.join("; ")}: ${told(call, answer)}`);
    this.visited(call.route).statuses.add(answer.status);
    return answer;
  }

  private send({ route, token, parameters, content, headers, ...other }: Call): Promise<Answer> {
    const [named, path] = split(route);
    const type = content && "type" in content ? content.type : "application/json";
    const request: Request = {
      url: `${this.url}${fill(path, parameters ?? {})}`,
      method: other.method ?? named,
      headers: {
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        ...(content ? { "Content-Type": type } : {}),
        ...headers,
      },
    };
    if (content) request.body = encode(content);
    return this.transport(request);
  }

  private operation(route: string): Operation {
    const found = this.documented(route);
    if (!found) throw new Error(`the specification does not know ${route}`);
    return found;
  }

  private documented(route: string): Operation | undefined {
    if (route === SLIDING_SYNC_ROUTE) return SLIDING_SYNC;
    const [method, path] = split(route);
    const [alias, target] = ALIASES.find(([alias]) => path.startsWith(alias)) ?? ["", ""];
    return this.specification.document.paths[target + path.slice(alias.length)]?.[method.toLowerCase()];
  }

  private visited(route: string): Visits {
    const row = route.includes(" /_matrix/client/r0/") ? "ANY /_matrix/client/r0/{rest}" : route;
    const visits = this.visits.get(row) ?? { good: 0, bad: 0, statuses: new Set() };
    this.visits.set(row, visits);
    return visits;
  }
}

/** A call and its answer, for people. */
function told({ route, parameters, content }: Call, answer: Answer): string {
  const sent = JSON.stringify({ ...parameters, ...content });
  return `${route} ${sent.slice(0, 500)}: ${answer.status} ${text(answer).slice(0, 1_000)}`;
}

function split(route: string): [method: string, path: string] {
  const [method = "", path = ""] = route.split(" ");
  return [method, path];
}

function fill(path: string, parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    const filled = path.replace(`{${name}}`, encodeURIComponent(value));
    if (filled === path) query.append(name, String(value));
    path = filled;
  }
  return query.size > 0 ? `${path}?${query}` : path;
}

function encode(content: Content): string {
  if ("bytes" in content) return Buffer.from(content.bytes).toString("base64");
  return Buffer.from("text" in content ? content.text : JSON.stringify(content.json)).toString("base64");
}
