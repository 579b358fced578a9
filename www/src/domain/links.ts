/** Finds web addresses in text. */

export type TextPart = { kind: "text"; text: string } | { kind: "link"; text: string; href: string };

const URL_PATTERN = /https?:\/\/[^\s<>"]+/g;
/** A longer address is left as text. */
const MAX_URL = 2_048;
const ENDS_SENTENCE = new Set(".,;:!?'”’");

/** The text in parts; joined, they are the text again. */
export function linkify(text: string): TextPart[] {
  const parts: TextPart[] = [];
  let end = 0;
  for (const match of text.matchAll(URL_PATTERN)) {
    const found = trimmed(match[0]);
    if (found.length > MAX_URL || !URL.canParse(found)) continue;
    if (match.index > end) parts.push({ kind: "text", text: text.slice(end, match.index) });
    parts.push({ kind: "link", text: found, href: new URL(found).href });
    end = match.index + found.length;
  }
  if (end < text.length) parts.push({ kind: "text", text: text.slice(end) });
  return parts;
}

/** Without the punctuation that ends a sentence, or a bracket that was opened before the address. */
function trimmed(url: string): string {
  let end = url.length;
  while (ENDS_SENTENCE.has(url.charAt(end - 1))) end--;
  if (!url.includes("(")) while (url.charAt(end - 1) === ")") end--;
  return url.slice(0, end);
}

/** Whether a message is nothing but a few emoji, which are shown large. */
export function isOnlyEmoji(text: string): boolean {
  return text.length <= 40 && /^(?:\p{Extended_Pictographic}(?:\uFE0F|\p{Emoji_Modifier}|\u200D\p{Extended_Pictographic}\uFE0F?)*\s*){1,4}$/u.test(text.trim());
}
