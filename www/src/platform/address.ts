/** The address bar as a store: the current route, and going elsewhere. */
import { type Route, formatRoute, parseRoute } from "../domain/route.ts";

let current = { fragment: location.hash, route: parseRoute(location.hash) };

/** For `useSyncExternalStore`. */
export const addressStore = {
  get: (): Route => {
    if (location.hash !== current.fragment) current = { fragment: location.hash, route: parseRoute(location.hash) };
    return current.route;
  },
  subscribe: (listener: () => void): (() => void) => {
    window.addEventListener("hashchange", listener);
    return () => window.removeEventListener("hashchange", listener);
  },
};

/** Goes to a place; `replace` leaves no entry to go back to. */
export function goTo(route: Route, replace = false): void {
  const fragment = formatRoute(route);
  if (replace) {
    history.replaceState(null, "", fragment);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = fragment;
  }
}
