import { useId } from "react";

/** The flame. */
export function Logo({ size = 28 }: { size?: number }) {
  const id = useId();
  return (
    <svg width={size} height={size} viewBox="0 0 64 64" aria-hidden="true" focusable="false">
      <defs>
        <linearGradient id={`${id}o`} x1="0" y1="1" x2="0.25" y2="0">
          <stop stopColor="#d9480f" />
          <stop offset="1" stopColor="#ff922b" />
        </linearGradient>
        <linearGradient id={`${id}i`} x1="0" y1="1" x2="0" y2="0">
          <stop stopColor="#ffe8cc" />
          <stop offset="1" stopColor="#ffc078" />
        </linearGradient>
      </defs>
      <path fill={`url(#${id}o)`} d="M35 3c2 11 17 18 17 36a20 20 0 0 1-40 0c0-9 5-14 8-20 2 4 4 6 7 7 1-8 3-16 8-23z" />
      <path fill={`url(#${id}i)`} d="M33 32c1 5 9 9 9 17a10 10 0 0 1-20 0c0-5 3-7 5-10 1 2 2 3 3 3 1-4 1-7 3-10z" />
    </svg>
  );
}
