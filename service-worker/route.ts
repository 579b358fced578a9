/** Which requests the worker answers, and who answers them. */

/** The homeserver, the app's page, one of its files; or nobody, which leaves the request to the network. */
export type Route = "api" | "page" | "file" | undefined;

const API = ["/_matrix/", "/.well-known/matrix/", "/_hearth/"];

/** Where `request` goes in a worker of `origin` that keeps `files`. */
export function route(
  request: Pick<Request, "url" | "method" | "mode">,
  origin: string,
  files: readonly string[],
): Route {
  const url = new URL(request.url);
  if (url.origin !== origin) return undefined;
  if (API.some((prefix) => url.pathname.startsWith(prefix))) return "api";
  if (request.method !== "GET") return undefined;
  // The app's places are in the fragment. What else is served beside it is not the app's.
  if (url.pathname === "/") return request.mode === "navigate" ? "page" : undefined;
  // A page of the version before asks for files that only the cache still has.
  return files.includes(url.pathname) || url.pathname.startsWith("/assets/") ? "file" : undefined;
}

/** Whether asking twice does no more than asking once. */
export function isRepeatable(request: Pick<Request, "url" | "method">): boolean {
  if (request.method === "GET" || request.method === "HEAD") return true;
  // Every PUT of the client API names what it puts, by a transaction id or a state key. Uploads are too large to keep.
  return request.method === "PUT" && !isUpload(request);
}

/** Whether the body of `request` is read whole before it is answered: JSON is, uploads are not. */
export function isReadWhole(request: Pick<Request, "url" | "method">): boolean {
  return request.method !== "GET" && request.method !== "HEAD" && !isUpload(request);
}

function isUpload(request: Pick<Request, "url">): boolean {
  return new URL(request.url).pathname.startsWith("/_matrix/media/");
}

/** A `/sync`, by whatever name it goes, or `/events`. */
const POLL = /^\/_matrix\/client\/(?:unstable\/)?[^/]+\/(sync|events)$/;

/** Whether `request` is a poll that waits for what is new, and loses nothing by being asked again. */
export function isWaiting(request: Pick<Request, "url" | "method">): boolean {
  const url = new URL(request.url);
  const [, poll] = POLL.exec(url.pathname) ?? [];
  if (request.method !== "GET" || poll === undefined) return false;
  return Boolean(url.searchParams.get(poll === "sync" ? "since" : "from"));
}

/** `request` without its body and without time to wait for news, if it is a poll. */
export function hurriedPoll(request: Request): Request | undefined {
  const url = new URL(request.url);
  if (!POLL.test(url.pathname) || request.mode === "navigate") return undefined;
  url.searchParams.set("timeout", "0");
  const { method, headers, signal } = request;
  return new Request(url, { method, headers, signal });
}
