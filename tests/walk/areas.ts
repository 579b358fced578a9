/** The whole walk, area by area. Each makes the accounts that it needs. */
import { accounts } from "./areas/accounts.ts";
import { aliases } from "./areas/aliases.ts";
import { devices } from "./areas/devices.ts";
import { events } from "./areas/events.ts";
import { keys } from "./areas/keys.ts";
import { media } from "./areas/media.ts";
import { rooms } from "./areas/rooms.ts";
import { settings } from "./areas/settings.ts";
import type { Walk } from "./walk.ts";

export const AREAS: Record<string, (walk: Walk) => Promise<void>> = {
  accounts,
  devices,
  settings,
  rooms,
  events,
  keys,
  media,
  aliases,
};
