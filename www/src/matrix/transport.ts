/**
 * `fetch` for the SDK, steady while the worker restarts: a browser may stop it between any two instructions, and the next
 * request starts it again. Requests that may be repeated (a `PUT` carries its transaction id) are, silently; others fail as usual.
 */
import { noHandover } from "../platform/handover.ts";

const PAUSES_MS = [100, 250, 600, 1_200, 2_500];
const REPEATABLE_POST = /\/(receipt|read_markers|filter|join)\b/;

export const steadyFetch: typeof globalThis.fetch = async (input, init) => {
  const attempts = isRepeatable(input, init) ? PAUSES_MS : [];
  for (const pause of attempts) {
    try {
      const response = await whole(input, init);
      if (response.status !== 503) return response;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    init?.signal?.throwIfAborted();
  }
  return whole(input, init);
};

/** A response with its body already read, so that a connection that breaks inside the body counts as one that broke. */
async function whole(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  await noHandover();
  const response = await fetch(input, init);
  const body = await response.arrayBuffer();
  const { status, statusText, headers } = response;
  return new Response(status === 204 || status === 304 ? null : body, { status, statusText, headers });
}

function isRepeatable(input: RequestInfo | URL, init?: RequestInit): boolean {
  const method = (init?.method ?? "GET").toUpperCase();
  if (method === "GET" || method === "PUT") return true;
  return method === "POST" && REPEATABLE_POST.test(input instanceof Request ? input.url : input.toString());
}
