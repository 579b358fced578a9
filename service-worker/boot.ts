/** Keeps one homeserver running: starts it when it is needed, replaces it when it breaks, hands it over. */
import { module } from "./assets.ts";
import { Instance, InstanceLost } from "./bridge.ts";
import { fetchRelays, knownRelays } from "./config.ts";
import { Ownership } from "./handover.ts";
import { hurriedPoll, isReadWhole, isRepeatable, isWaiting } from "./route.ts";

declare const self: ServiceWorkerGlobalScope;

/** How long long-polls are cut short for a newer version that then does not come, in milliseconds. */
const YIELD_MS = 30_000;
/** How often polls are answered meanwhile, in milliseconds: together, so that the browser finds moments without any. */
const BEAT_MS = 500;
/** How long requests may take to end before the database is let go, in milliseconds. */
const DRAIN_MS = 5_000;
/** So many losses within `CALM_MS` delay the next start by `CALM_DELAY_MS`. */
const RESTLESS_LOSSES = 3;
const CALM_MS = 30_000;
const CALM_DELAY_MS = 1_000;
/** How long what `/config.json` said is taken to be true, in milliseconds: a relay comes back with another key or moves. */
const CONFIG_MS = 60_000;
const RETIRED = "a newer version took over";

/** The homeserver, whatever happens to one instance of it. */
export class Supervisor {
  readonly #ownership = new Ownership(() => void this.#end());
  readonly #onRestart: (reason: string) => void;
  /** The requests that are being answered. */
  readonly #answering = new Set<Promise<Response>>();
  /** Ways to have the long-polls that wait now answered. */
  readonly #polls = new Set<() => void>();
  #starting: Promise<Instance> | undefined;
  #losses: number[] = [];
  /** The log of the last instance that was lost, as a JSON list of lines. */
  #log = "[]";
  /** When `/config.json` was last read, in milliseconds. */
  #configAt = -CONFIG_MS;
  #yieldsUntil = 0;
  /** The moment at which polls are answered next, if any waits for it. */
  #beat: Promise<void> | undefined;
  #isRetired = false;

  /** `onRestart` is told the reason when an instance had to be replaced. */
  constructor(onRestart: (reason: string) => void) {
    this.#onRestart = onRestart;
  }

  /** The homeserver's answer. It is always an answer: if there is no homeserver, it says so. */
  answer(request: Request): Promise<Response> {
    const answer = this.#answer(request).catch((error: unknown) => failure(error, request));
    this.#answering.add(answer);
    void answer.finally(() => this.#answering.delete(answer));
    return answer;
  }

  async #answer(request: Request): Promise<Response> {
    // Read here once, it can be given to the next instance too; a clone of the request costs a millisecond.
    const body = isReadWhole(request) ? new Uint8Array(await request.arrayBuffer()) : undefined;
    try {
      return await this.#attempt(request, body);
    } catch (error) {
      if (!(error instanceof InstanceLost) || !isRepeatable(request)) throw error;
      return this.#attempt(request, body);
    }
  }

  async #attempt(request: Request, body: Uint8Array | undefined): Promise<Response> {
    const hurried = this.#yields() ? hurriedPoll(request) : undefined;
    if (hurried) {
      await this.#nextBeat();
      return (await this.#running()).fetch(hurried, body);
    }
    const instance = await this.#running();
    return isWaiting(request) ? this.#poll(instance, request) : instance.fetch(request, body);
  }

  /**
   * What `instance` answers to a poll, and when a newer version comes to wait: what it answers at once. An answer from
   * here would lack what clients take for none if it is not said, as the count of one-time keys.
   */
  #poll(instance: Instance, poll: Request): Promise<Response> {
    return new Promise((resolve, reject) => {
      const cutShort = () => {
        const hurried = hurriedPoll(poll);
        if (hurried) resolve(instance.fetch(hurried, undefined));
      };
      this.#polls.add(cutShort);
      instance
        .fetch(poll, undefined)
        .then(resolve, reject)
        .finally(() => this.#polls.delete(cutShort));
    });
  }

  #nextBeat(): Promise<void> {
    this.#beat ??= sleep(BEAT_MS).then(() => {
      this.#beat = undefined;
    });
    return this.#beat;
  }

  /** Whether a newer version waits. A worker that was restarted meanwhile was not told, but can see it. */
  #yields(): boolean {
    return Date.now() < this.#yieldsUntil || self.registration.waiting !== null;
  }

  /** A page is open: keeps the homeserver running. */
  async tick(): Promise<void> {
    await this.#running().catch(report);
    // The clock may have been set back.
    const isOld = Math.abs(Date.now() - this.#configAt) >= CONFIG_MS;
    if (isOld) await this.#refreshConfig().catch(report);
  }

  /** The network may be back. */
  async wake(): Promise<void> {
    try {
      (await this.#running()).wake();
      await this.#refreshConfig();
    } catch (error) {
      report(error);
    }
  }

  /** Makes the homeserver panic. */
  async trap(): Promise<void> {
    try {
      (await this.#running()).trap();
    } catch (error) {
      report(error);
    }
  }

  /** A newer version waits to take over: holds no long-poll back from now on. */
  yield(): void {
    this.#yieldsUntil = Date.now() + YIELD_MS;
    for (const cutShort of this.#polls) cutShort();
    this.#polls.clear();
  }

  /** A newer version is in charge: ends what is under way and lets go of the database. For good. */
  async retire(): Promise<void> {
    this.#isRetired = true;
    this.yield();
    await Promise.race([Promise.allSettled(this.#answering), sleep(DRAIN_MS)]);
    await this.#end();
    this.#ownership.release();
  }

  /** Ends the homeserver at once, or as soon as it has started. For good. */
  async #end(): Promise<void> {
    this.#isRetired = true;
    const starting = this.#starting;
    this.#starting = undefined;
    (await starting?.catch(() => undefined))?.end(RETIRED);
  }

  /** The instance that runs; starts one if none does. */
  #running(): Promise<Instance> {
    if (this.#isRetired && !this.#starting) return Promise.reject(new Error(RETIRED));
    if (!this.#starting) {
      const starting = this.#start();
      this.#starting = starting;
      starting.then(
        () => void this.#refreshConfig().catch(report),
        () => this.#forget(starting),
      );
    }
    return this.#starting;
  }

  async #start(): Promise<Instance> {
    await this.#calm();
    if (this.#isRetired) throw new Error(RETIRED);
    return Instance.start(module(), {
      relays: knownRelays(),
      log: this.#log,
      ready: this.#ownership.acquire(),
      onLost: (loss) => this.#replace(loss),
    });
  }

  /** Waits a little if instances broke down in a row. */
  async #calm(): Promise<void> {
    this.#losses = this.#losses.filter((time) => time > Date.now() - CALM_MS);
    if (this.#losses.length >= RESTLESS_LOSSES) await sleep(CALM_DELAY_MS);
  }

  #replace(loss: InstanceLost): void {
    report(loss);
    this.#losses.push(Date.now());
    this.#log = linesOf(loss);
    this.#starting = undefined;
    this.#onRestart(loss.message);
    if (!this.#isRetired) void this.#running().catch(report);
  }

  #forget(starting: Promise<Instance>): void {
    if (this.#starting === starting) this.#starting = undefined;
  }

  async #refreshConfig(): Promise<void> {
    const relays = await fetchRelays();
    if (!relays) return;
    this.#configAt = Date.now();
    (await this.#running()).addRelays(relays);
  }
}

/** The log of a lost instance; if it could not say it, the loss itself. */
function linesOf(loss: InstanceLost): string {
  try {
    const { lines } = JSON.parse(loss.log) as { lines: unknown };
    if (Array.isArray(lines) && lines.length > 0) return JSON.stringify(lines);
  } catch {
    // A trap that was no panic: nothing was said.
  }
  return JSON.stringify([{ ts: Date.now(), level: "ERROR", target: "service-worker", message: loss.message }]);
}

function failure(error: unknown, request: Request): Response {
  // The page took the request back: nobody reads this answer.
  if (!request.signal.aborted) report(error);
  const message = error instanceof InstanceLost ? "the homeserver broke down; its log says why" : String(error);
  return json(JSON.stringify({ errcode: "M_UNKNOWN", error: message }), 500);
}

function json(body: string, status: number): Response {
  const headers = { "Content-Type": "application/json", "Access-Control-Allow-Origin": "*" };
  return new Response(body, { status, headers });
}

function report(error: unknown): void {
  console.error(error);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
