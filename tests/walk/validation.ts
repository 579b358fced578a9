/** Whether an answer is what the specification's document says of it. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { type Answer, text } from "./exchange.ts";
import type { Operation, Schema } from "./specification.ts";

/** Client-Server API, section "Using access tokens": what any call may be refused with. */
const TOKEN_ERRORS = ["M_MISSING_TOKEN", "M_UNKNOWN_TOKEN"];

/** Section "Standard error response". */
const STANDARD_ERROR: Schema = {
  type: "object",
  required: ["errcode"],
  properties: { errcode: { type: "string" }, error: { type: "string" } },
};

/** Appendices, section "Common identifier format", and the formats of JSON schema that the document uses. */
const FORMATS: Record<string, (text: string) => boolean> = {
  "mx-user-id": (text) => /^@[^:]*:.+/.test(text),
  "mx-room-id": (text) => text.startsWith("!"),
  "mx-event-id": (text) => text.startsWith("$"),
  "mx-room-alias": (text) => /^#[^:]*:.+/.test(text),
  "mx-mxc-uri": (text) => /^mxc:\/\/[^/]+\/[A-Za-z0-9_-]+$/.test(text),
  "mx-server-name": (text) => text.length > 0,
  uri: (text) => URL.canParse(text),
};

/** Checks answers; a schema is compiled once. */
export class Validation {
  private readonly ajv = new Ajv2020({ strict: false, allErrors: true, formats: FORMATS, logger: false });
  private readonly compiled = new Map<Schema, ValidateFunction>();

  /** What is wrong with `answer` to `operation`, in words; nothing if it fits. */
  problems(operation: Operation, answer: Answer): string[] {
    const documented = operation.responses[answer.status]?.content;
    if (documented === undefined && answer.status < 400) return [`${answer.status} is no answer to this`];
    const type = answer.headers["content-type"] ?? "none";
    const json = documented?.["application/json"];
    if (answer.status < 400 && !json) return this.file(Object.keys(documented ?? {}), type);
    if (type !== "application/json") return [`the type is ${type}`];
    const body = JSON.parse(text(answer)) as { errcode?: string };
    const isStandard = answer.status === 401 && TOKEN_ERRORS.includes(body.errcode ?? "");
    return this.violations(isStandard || !json?.schema ? STANDARD_ERROR : json.schema, body);
  }

  /** A file: where the document says that it is bytes, it has the type that it was uploaded with. */
  private file(documented: string[], type: string): string[] {
    const fits = documented.includes("application/octet-stream") || documented.includes(type);
    return fits ? [] : [`the type is ${type}, none of ${documented.join(", ")}`];
  }

  private violations(schema: Schema, body: unknown): string[] {
    let validate = this.compiled.get(schema);
    if (!validate) this.compiled.set(schema, (validate = this.ajv.compile(schema)));
    if (validate(body)) return [];
    return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath || "the answer"} ${message}`);
  }
}
