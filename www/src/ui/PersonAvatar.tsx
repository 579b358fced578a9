import type { CSSProperties } from "react";
import { colourOf, initials } from "../domain/person.ts";
import classes from "./PersonAvatar.module.css";

interface Props {
  id: string;
  name: string;
  size?: number;
  /** For rooms. */
  square?: boolean;
}

/** A person or a room without a picture: initials on a colour of their own. The name stands beside it, so it is silent. */
export function PersonAvatar({ id, name, size = 36, square = false }: Props) {
  const colour = (shade: number): string => `var(--mantine-color-${colourOf(id)}-${shade})`;
  const style = { "--size": `${size}px`, "--pale": colour(1), "--mid": colour(5), "--deep": colour(9), "--bright": colour(3) };
  return (
    <span className={classes["avatar"]} style={style as CSSProperties} data-square={square || undefined} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
