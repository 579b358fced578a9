/**
 * What the Matrix specification says of the Client-Server API: its OpenAPI document, and the list of endpoints by tier.
 * Neither is part of this repository: they are looked for in `HEARTH_SPEC_DIR`, then in `shared/spec` beside the
 * project; the document alone is also published on the web, the list is not.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PUBLISHED = "https://spec.matrix.org/latest/client-server-api/api.json";

/** How long the published document may take, in milliseconds. */
const PATIENCE = 10_000;

/** A JSON schema. */
export type Schema = Record<string, unknown>;

interface Content {
  schema?: Schema;
}

/** What the document says of one method of one path. */
export interface Operation {
  security?: Record<string, unknown>[];
  requestBody?: { content: Record<string, Content> };
  responses: Record<string, { content?: Record<string, Content> }>;
}

/** The document. */
export interface Document {
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
}

/** The specification, as far as it is at hand. */
export interface Specification {
  document: Document;
  /** What any client needs, and what users of a modern one expect: method and path of each. */
  rows: string[] | undefined;
}

/** Reads it; undefined if it cannot be had. */
export async function specification(): Promise<Specification | undefined> {
  const document = (await local("openapi-client-server.json")) ?? (await published());
  if (document === undefined) return undefined;
  const list = await local("endpoints.csv");
  return { document: JSON.parse(document) as Document, rows: list === undefined ? undefined : rows(list) };
}

async function local(name: string): Promise<string | undefined> {
  const beside = fileURLToPath(new URL("../../../shared/spec", import.meta.url));
  for (const folder of [process.env["HEARTH_SPEC_DIR"], beside]) {
    if (!folder) continue;
    const text = await readFile(join(folder, name), "utf8").catch(() => undefined);
    if (text !== undefined) return text;
  }
  return undefined;
}

async function published(): Promise<string | undefined> {
  try {
    const response = await fetch(PUBLISHED, { signal: AbortSignal.timeout(PATIENCE) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

/** The rows of the first two tiers. The columns that count come before the first that may be quoted. */
function rows(list: string): string[] {
  const fields = list.split("\n").map((line) => line.split(","));
  const wanted = fields.filter(([api, , , tier]) => api === "client" && (tier === "1" || tier === "2"));
  return wanted.map(([, method, path]) => `${method} ${path}`);
}
