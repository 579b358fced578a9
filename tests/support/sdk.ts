/** matrix-js-sdk in a page: `tests/client` bundled and served, and stand-ins for its objects on this side. */
import { copyFile, cp, mkdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { build } from "esbuild";
import type { Account, Client } from "../client/client.ts";
import type { Clients } from "../client/main.ts";

/** What stands for an object in a page: its methods, answered later. */
export type Remote<T> = {
  [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : Remote<T[K]>;
};

/** One device in a page. */
export type RemoteClient = Remote<Client>;

/** Puts the client's files into `folder`, beside the app of `app` if it is given. */
export async function writeClient(folder: string, app?: string): Promise<void> {
  if (app) await cp(app, folder, { recursive: true });
  const out = join(folder, "client");
  await build({
    entryPoints: [fileURLToPath(new URL("../client/main.ts", import.meta.url))],
    outfile: join(out, "client.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
    define: { global: "globalThis" },
    logLevel: "error",
  });
  // The crypto module is looked for beside the script.
  const glue = createRequire(import.meta.url).resolve("@matrix-org/matrix-sdk-crypto-wasm");
  const wasm = "pkg/matrix_sdk_crypto_wasm_bg.wasm";
  await mkdir(dirname(join(out, wasm)), { recursive: true });
  await copyFile(join(dirname(glue), wasm), join(out, wasm));
  await writeFile(join(out, "index.html"), "<!doctype html><title>matrix-js-sdk</title>");
}

/** Clients in one page of the origin that serves them. */
export class ClientPage {
  private constructor(private readonly page: Page) {}

  /** Loads the client into `page`. */
  static async load(page: Page): Promise<ClientPage> {
    await page.addScriptTag({ url: "/client/client.js", type: "module" });
    return new ClientPage(page);
  }

  /** Makes an account, with a first device. */
  async register(account: Account): Promise<RemoteClient> {
    const client = await this.page.evaluate((account) => (window.clients as Clients).register(account), account);
    return remote(this.page, client, []);
  }

  /** A further device of an account. */
  async login(account: Account, recoveryKey?: string): Promise<RemoteClient> {
    const client = await this.page.evaluate(
      ({ account, recoveryKey }) => (window.clients as Clients).login(account, recoveryKey),
      { account, recoveryKey },
    );
    return remote(this.page, client, []);
  }
}

/** A function of which every property is another: `remote.rooms.say(…)` calls that method in the page. */
function remote<T>(page: Page, client: number, path: string[]): Remote<T> {
  const call = (...args: unknown[]): Promise<unknown> =>
    page.evaluate(
      ({ client, path, args }) => (window.clients as Clients).call(client, path, args),
      { client, path, args },
    );
  return new Proxy(call, {
    // What is awaited is asked for `then`; a stand-in is no promise.
    get: (_target, name) => (name === "then" ? undefined : remote(page, client, [...path, String(name)])),
  }) as unknown as Remote<T>;
}
