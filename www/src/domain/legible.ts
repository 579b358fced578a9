/** What strangers wrote, as a browser can lay it out: it takes seconds for a character with thousands of marks, a name of 60 KB is none. */

const TOO_MANY_MARKS = /(\p{M}{16})\p{M}+/gu;

/** The text without the marks that are too many for one character. */
export function legible(text: string): string {
  return text.replace(TOO_MANY_MARKS, "$1");
}

/** The beginning of the text, with `…` in place of what is beyond `length`. */
export function clipped(text: string, length: number): string {
  if (text.length <= length) return legible(text);
  // Half a character is none.
  return `${legible(text.slice(0, length).replace(/[\uD800-\uDBFF]$/, ""))}…`;
}
