/**
 * One instance of the WebAssembly module: its start, its requests, its end.
 *
 * An instance that trapped cannot be trusted and never answers what it was asked. So every request can be given up
 * from outside, and an instance that is given up is cut off from its sockets, its database and its timers: what calls it
 * finds nothing. A database left open could be neither upgraded nor deleted.
 */
import bindings from "hearth:bindings";

/** The exports of `crate/worker`. */
interface Bindings {
  (options: { module_or_path: Response }): Promise<unknown>;
  start(config: Config): Promise<Hearth>;
}

interface Hearth {
  fetch(request: Request, body: Uint8Array | undefined): Promise<Response>;
  addRelays(relays: string[]): void;
  wake(): void;
  trap(): void;
}

/** What an instance is started with; read by `crate/worker/src/boot.rs`. */
interface Config {
  version: string;
  origin: string;
  relays: string[];
  /** The lines that earlier instances logged, as a JSON list. */
  log: string;
  moduleMs: number;
  death: AbortSignal;
  /** Called when it cannot go on: it panicked, or its database was taken away. */
  onLost: (message: string, log: string) => void;
}

/** Why an instance ended. */
export class InstanceLost extends Error {
  override name = "InstanceLost";

  constructor(
    message: string,
    /** What it had logged, as `{"lines": [...]}` in JSON; empty if it could not say. */
    public readonly log: string,
  ) {
    super(message);
  }
}

/** What the caller of `Instance.start` decides. */
export interface Options {
  relays: Promise<string[]>;
  log: string;
  /** Awaited before the database is opened. */
  ready: Promise<void>;
  onLost: (loss: InstanceLost) => void;
}

/** A running homeserver. */
export class Instance {
  readonly #death = new AbortController();
  readonly #sockets = new Set<WebSocket>();
  readonly #databases = new Set<IDBDatabase>();
  /** Ways to give up what is being waited for. */
  readonly #waiting = new Set<(loss: InstanceLost) => void>();
  readonly #onLost: (loss: InstanceLost) => void;
  #hearth: Hearth | undefined;
  #loss: InstanceLost | undefined;

  private constructor(onLost: (loss: InstanceLost) => void) {
    this.#onLost = onLost;
  }

  /** Loads the module and starts the homeserver. */
  static async start(module: Promise<Response>, options: Options): Promise<Instance> {
    const instance = new Instance(options.onLost);
    try {
      await instance.#start(module, options);
    } catch (error) {
      instance.end("the homeserver did not start");
      throw error;
    }
    return instance;
  }

  async #start(module: Promise<Response>, options: Options): Promise<void> {
    const begin = performance.now();
    const load = bindings(this.#trackedSocket(), this.#guardedWebAssembly(), this.#trackedDatabases()) as Bindings;
    await load({ module_or_path: await module });
    const moduleMs = performance.now() - begin;
    const relays = await options.relays;
    await options.ready;
    this.#hearth = await this.#orLost(
      load.start({
        version: HEARTH_BUILD.version,
        origin: self.location.origin,
        relays,
        log: options.log,
        moduleMs,
        death: this.#death.signal,
        onLost: (message, log) => this.lose(new InstanceLost(message, log)),
      }),
    );
  }

  /**
   * The answer to `request`, whose body is `body` if that was read already. Rejects with `InstanceLost` if the
   * instance ends before it has one.
   */
  fetch(request: Request, body: Uint8Array | undefined): Promise<Response> {
    return this.#call((hearth) => this.#orLost(hearth.fetch(request, body)));
  }

  /** Keeps reservations at these relays too. */
  addRelays(relays: string[]): void {
    this.#call((hearth) => hearth.addRelays(relays));
  }

  /** Retries every connection now. */
  wake(): void {
    this.#call((hearth) => hearth.wake());
  }

  /** Makes it panic. */
  trap(): void {
    this.#call((hearth) => hearth.trap());
  }

  /** Gives it up: what waits is rejected, and the owner is told. */
  lose(loss: InstanceLost): void {
    if (this.#loss) return;
    this.#end(loss);
    this.#onLost(loss);
  }

  /** Stops it. */
  end(reason: string): void {
    if (!this.#loss) this.#end(new InstanceLost(reason, ""));
  }

  #end(loss: InstanceLost): void {
    this.#loss = loss;
    for (const giveUp of this.#waiting) giveUp(loss);
    this.#death.abort(loss);
    for (const socket of this.#sockets) socket.close();
    for (const database of this.#databases) database.close();
  }

  #call<T>(use: (hearth: Hearth) => T): T {
    if (this.#loss) throw this.#loss;
    if (!this.#hearth) throw new Error("the instance has not started");
    return use(this.#hearth);
  }

  /** `promise`, unless the instance ends first. */
  #orLost<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#loss) return reject(this.#loss);
      this.#waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /** A WebSocket that can be closed from here. */
  #trackedSocket(): typeof WebSocket {
    const sockets = this.#sockets;
    return class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        sockets.add(this);
        this.addEventListener("close", () => sockets.delete(this));
      }
    };
  }

  /** An `indexedDB` whose databases can be closed from here; one that opens too late is closed at once. */
  #trackedDatabases(): Pick<IDBFactory, "open"> {
    const open = (name: string, version?: number) => {
      const request = indexedDB.open(name, version);
      request.addEventListener("success", () => {
        this.#databases.add(request.result);
        if (this.#loss) request.result.close();
      });
      return request;
    };
    return { open };
  }

  /** A `WebAssembly` whose instances are guarded. */
  #guardedWebAssembly(): object {
    const guarded = ({ instance, module }: WebAssembly.WebAssemblyInstantiatedSource) => {
      const entries = Object.entries(instance.exports).map(([name, value]) => [name, this.#guarded(value)]);
      return { instance: { exports: Object.fromEntries(entries) as WebAssembly.Exports }, module };
    };
    return {
      Module: WebAssembly.Module,
      Instance: WebAssembly.Instance,
      instantiate: async (bytes: BufferSource, imports: WebAssembly.Imports) =>
        guarded(await WebAssembly.instantiate(bytes, imports)),
      instantiateStreaming: async (source: Response, imports: WebAssembly.Imports) =>
        guarded(await WebAssembly.instantiateStreaming(source, imports)),
    };
  }

  /** What is exported; a function notices a trap, and does nothing once the instance has ended. */
  #guarded(exported: unknown): unknown {
    if (typeof exported !== "function") return exported;
    const call = exported as (...values: unknown[]) => unknown;
    return (...values: unknown[]) => {
      if (this.#loss) return undefined;
      try {
        return call(...values);
      } catch (error) {
        if (isTrap(error)) this.lose(new InstanceLost(error.stack ?? error.message, ""));
        throw error;
      }
    };
  }
}

/** Whether WebAssembly stopped with `error`, or exhausted the stack. */
export function isTrap(error: unknown): error is Error {
  if (error instanceof WebAssembly.RuntimeError) return true;
  return error instanceof RangeError && (error.stack ?? "").includes("wasm");
}
