/** Times as people read them. `now` is always an argument. */
const DAY_MS = 86_400_000;
/** The last moment that `Date` knows, in the year 275760. */
const LAST_MS = 8.64e15;

/** What somebody said of a time, as a moment that `Date` knows: an event may claim a later one. */
export function momentOf(ts: number | undefined): number {
  return Math.min(ts ?? 0, LAST_MS);
}

/** The start of the local day that holds `ts`. */
export function startOfDay(ts: number): number {
  return new Date(ts).setHours(0, 0, 0, 0);
}

/** Hours and minutes. */
export function clock(ts: number, locale?: string): string {
  return new Date(ts).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}

/** `Today`, `Yesterday`, a weekday of this week, or a date. */
export function dayLabel(ts: number, now: number, locale?: string): string {
  const days = Math.round((startOfDay(now) - startOfDay(ts)) / DAY_MS);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  const date = new Date(ts);
  if (days > 1 && days < 7) return date.toLocaleDateString(locale, { weekday: "long" });
  const sameYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString(locale, { day: "numeric", month: "long", ...(!sameYear && { year: "numeric" }) });
}

/** Short enough for a list: the time of today's things, the day of older ones. */
export function shortTime(ts: number, now: number, locale?: string): string {
  const days = Math.round((startOfDay(now) - startOfDay(ts)) / DAY_MS);
  if (days <= 0) return clock(ts, locale);
  if (days === 1) return "Yesterday";
  const date = new Date(ts);
  if (days < 7) return date.toLocaleDateString(locale, { weekday: "short" });
  return date.toLocaleDateString(locale, { day: "numeric", month: "short" });
}

/** How long something has been going on: `12 s`, `5 min`, `3 h 4 min`, `2 d 1 h`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}
