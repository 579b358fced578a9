import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Nearer than this to the end counts as at the end. */
const NEAR_PX = 60;

interface Sticking {
  scroller: RefObject<HTMLDivElement | null>;
  content: RefObject<HTMLDivElement | null>;
  atBottom: boolean;
  toBottom: () => void;
}

/**
 * Keeps a scroller at its end while it is there, and in its place when older things (`first` changes) are put in above.
 * Goes to the end when `own`, the key of our newest message, changes.
 */
export function useStickToBottom(first: string | undefined, own: string | undefined): Sticking {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sticking = useRef(true);
  const fromEnd = useRef(0);
  const [atBottom, setAtBottom] = useState(true);

  const toBottom = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    sticking.current = true;
    box.scrollTop = box.scrollHeight;
    setAtBottom(true);
  }, []);

  useLayoutEffect(() => {
    const box = scroller.current;
    if (box && !sticking.current) box.scrollTop = box.scrollHeight - fromEnd.current;
  }, [first]);

  useLayoutEffect(toBottom, [own, toBottom]);

  useEffect(() => {
    const box = scroller.current;
    const inner = content.current;
    if (!box || !inner) return undefined;
    const scrolled = (): void => {
      fromEnd.current = box.scrollHeight - box.scrollTop;
      sticking.current = fromEnd.current - box.clientHeight < NEAR_PX;
      setAtBottom(sticking.current);
    };
    const resized = new ResizeObserver(() => {
      if (sticking.current) box.scrollTop = box.scrollHeight;
      else fromEnd.current = box.scrollHeight - box.scrollTop;
    });
    box.addEventListener("scroll", scrolled, { passive: true });
    resized.observe(inner);
    resized.observe(box);
    return () => {
      box.removeEventListener("scroll", scrolled);
      resized.disconnect();
    };
  }, []);

  return { scroller, content, atBottom, toBottom };
}
