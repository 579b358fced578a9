/** Native nodes: the static server with its relay, and a homeserver over plain HTTP. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A running `hearth-node`. */
export class Node {
  /** What it printed, for failure reports. */
  output = "";

  private constructor(
    private readonly process: ChildProcess,
    /** The URL that it printed. */
    public readonly url: string,
  ) {}

  /** Serves the app (or `app`) and a relay whose key is kept in `data`. */
  static serve(
    data: string,
    listen = "127.0.0.1:0",
    app = environment("HEARTH_APP"),
    options: string[] = [],
  ): Promise<Node> {
    return Node.start(["serve", "--listen", listen, "--data", data, "--static", app, ...options]);
  }

  /** Runs a homeserver that federates through `relays`. */
  static homeserver(data: string, relays: string[], options: string[] = []): Promise<Node> {
    const relayArguments = relays.flatMap((relay) => ["--relay", relay]);
    return Node.start([
      "homeserver", "--listen", "127.0.0.1:0", "--data", data, "--open-registration", ...relayArguments, ...options,
    ]);
  }

  private static start(args: string[]): Promise<Node> {
    const child = spawn(environment("HEARTH_NODE"), args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1" },
    });
    return new Promise((resolve, reject) => {
      let node: Node | undefined;
      let output = "";
      const read = (chunk: Buffer) => {
        output += chunk.toString();
        const url = /https?:\/\/[^\s/]+/.exec(output)?.[0];
        if (!node && url) resolve((node = new Node(child, url)));
        if (node) node.output = output;
      };
      child.stdout.on("data", read);
      child.stderr.on("data", (chunk: Buffer) => (node ? (node.output += chunk.toString()) : (output += chunk.toString())));
      child.on("error", reject);
      child.on("exit", (code) => reject(new Error(`hearth-node ended with ${code}: ${output}`)));
    });
  }

  /** The process. */
  get pid(): number {
    return this.process.pid ?? 0;
  }

  /** The port that it listens on. */
  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** The relay addresses that it tells the app. */
  async relays(): Promise<string[]> {
    const config = (await (await fetch(`${this.url}/config.json`)).json()) as { relays: string[] };
    return config.relays;
  }

  /** Ends it and waits until it has ended. */
  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGTERM");
    const force = setTimeout(() => this.process.kill("SIGKILL"), 5_000);
    await ended;
    clearTimeout(force);
  }
}

/** A new empty folder, and how to remove it. */
export async function folder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "hearth-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

function environment(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests by \`cargo xtask test e2e\``);
  return value;
}
