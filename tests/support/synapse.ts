/** Synapse with SQLite as PyPI gives it, in a process of its own, for comparison. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

export class Synapse {
  private constructor(
    private readonly process: ChildProcess,
    public readonly url: string,
  ) {}

  /** Runs Synapse by `python`, with its data in `folder`. */
  static async start(python: string, folder: string): Promise<Synapse> {
    const port = await freePort();
    const config = join(folder, "homeserver.yaml");
    await writeFile(config, configuration(folder, port));
    const module = ["-m", "synapse.app.homeserver", "-c", config];
    await promisify(execFile)(python, [...module, "--generate-keys"]);
    const child = spawn(python, module, { stdio: "ignore", cwd: folder });
    const url = `http://127.0.0.1:${port}`;
    const ended = new Promise<never>((_, reject) => {
      child.on("exit", (code) => reject(new Error(`Synapse ended with ${code}`)));
    });
    await Promise.race([answers(url), ended]);
    ended.catch(() => undefined);
    return new Synapse(child, url);
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
  }
}

/** Nothing is limited; a password costs about as much as one of Hearth's (Argon2id, 9 MiB, 4 passes). JSON is YAML. */
function configuration(folder: string, port: number): string {
  const unlimited = { per_second: 1_000_000, burst_count: 1_000_000 };
  return JSON.stringify({
    server_name: "localhost",
    pid_file: join(folder, "pid"),
    signing_key_path: join(folder, "signing.key"),
    media_store_path: join(folder, "media"),
    database: { name: "sqlite3", args: { database: join(folder, "homeserver.db") } },
    listeners: [
      { port, type: "http", bind_addresses: ["127.0.0.1"], resources: [{ names: ["client", "media"], compress: false }] },
    ],
    enable_registration: true,
    enable_registration_without_verification: true,
    bcrypt_rounds: 8,
    macaroon_secret_key: "bench",
    form_secret: "bench",
    report_stats: false,
    trusted_key_servers: [],
    rc_message: unlimited,
    rc_registration: unlimited,
    rc_joins: { local: unlimited, remote: unlimited },
    rc_joins_per_room: unlimited,
    rc_login: { address: unlimited, account: unlimited, failed_attempts: unlimited },
    rc_room_creation: unlimited,
    rc_media_create: unlimited,
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Waits until the server at `url` answers. */
async function answers(url: string): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/_matrix/client/versions`).catch(() => undefined);
    if (response?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
