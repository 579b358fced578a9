import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import { useClient } from "../session/client-context.ts";

/** Older messages are asked for this long before one sees their place. */
const AHEAD = "500px 0px 0px 0px";

interface Older {
  sentinel: RefObject<HTMLDivElement | null>;
  failed: boolean;
  load: () => void;
}

/** Loads older messages whenever the top of the timeline comes near, until there are none. */
export function useOlder(roomId: string, hasOlder: boolean, count: number, root: RefObject<HTMLDivElement | null>): Older {
  const client = useClient();
  const sentinel = useRef<HTMLDivElement>(null);
  const busy = useRef(false);
  const [failed, setFailed] = useState(false);
  const [loads, setLoads] = useState(0);

  const load = useCallback(() => {
    if (busy.current) return;
    busy.current = true;
    setFailed(false);
    client
      .loadOlder(roomId)
      .catch(() => setFailed(true))
      .finally(() => {
        busy.current = false;
        // A page may hold nothing that is shown: look again.
        setLoads((n) => n + 1);
      });
  }, [client, roomId]);

  useEffect(() => {
    const mark = sentinel.current;
    if (!mark || !hasOlder || failed) return undefined;
    const watch = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) load();
      },
      { root: root.current, rootMargin: AHEAD },
    );
    watch.observe(mark);
    return () => watch.disconnect();
  }, [hasOlder, failed, load, loads, count, root]);

  return { sentinel, failed, load };
}
