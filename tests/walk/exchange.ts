/** One request and its answer, as plain values, so that the same function runs in Node and in a page. */

/** What is asked. */
export interface Request {
  url: string;
  method: string;
  headers: Record<string, string>;
  /** In base64. */
  body?: string;
}

/** What is answered. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  /** In base64. */
  body: string;
}

/** Takes a request to a homeserver. */
export type Transport = (request: Request) => Promise<Answer>;

/** By `fetch`. A page is given its source text, so it uses nothing outside itself. */
export async function exchange({ url, method, headers, body }: Request): Promise<Answer> {
  const bytes = body === undefined ? undefined : Uint8Array.from(atob(body), (char) => char.charCodeAt(0));
  const response = await fetch(url, { method, headers, ...(bytes ? { body: bytes } : {}) });
  let text = "";
  for (const byte of new Uint8Array(await response.arrayBuffer())) text += String.fromCharCode(byte);
  return { status: response.status, headers: Object.fromEntries(response.headers), body: btoa(text) };
}

/** The text of an answer. */
export function text({ body }: Answer): string {
  return Buffer.from(body, "base64").toString();
}
