import { Avatar } from "@mantine/core";
import { colourOf, initials } from "../domain/person.ts";

/** A person or a room without a picture: initials on a colour of their own. The name stands beside it, so it is silent. */
export function PersonAvatar({ id, name, size = 36, square = false }: { id: string; name: string; size?: number; square?: boolean }) {
  return (
    <Avatar aria-hidden="true" color={colourOf(id)} size={size} radius={square ? "md" : "xl"} variant="light" styles={{ placeholder: { fontSize: size * 0.38, fontWeight: 650 } }}>
      {initials(name)}
    </Avatar>
  );
}
