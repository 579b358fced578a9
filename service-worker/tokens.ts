/**
 * Files for elements. `<img>`, `<video>` and `<audio>` cannot send an access token, and clients that have a service worker
 * of their own to add it have none here. So a page's file is asked for with the token that the page used last.
 */

/** The most pages whose token is remembered. */
const MAX_PAGES = 100;
const FILE = /^\/_matrix\/client\/[^/]+\/media\/(?:download|thumbnail)\//;
const ELEMENTS = new Set<RequestDestination>(["image", "video", "audio"]);

/** The tokens of pages, for as long as the worker lives. */
export class Tokens {
  /** By the id of the page; who asked last is last. */
  readonly #pages = new Map<string, string>();

  /** `request` of `page`, with its token if it is of an element and for a file. */
  add(page: string, request: Request): Request {
    const own = request.headers.get("Authorization");
    if (own !== null) {
      this.#remember(page, own);
      return request;
    }
    const token = this.#pages.get(page);
    if (token === undefined || !ELEMENTS.has(request.destination) || !FILE.test(new URL(request.url).pathname))
      return request;
    // Elements' requests take no such header; one made anew does.
    const headers = new Headers(request.headers);
    headers.set("Authorization", token);
    return new Request(request.url, { headers, signal: request.signal });
  }

  #remember(page: string, token: string): void {
    this.#pages.delete(page);
    this.#pages.set(page, token);
    const [first] = this.#pages.keys();
    if (this.#pages.size > MAX_PAGES && first !== undefined) this.#pages.delete(first);
  }
}
