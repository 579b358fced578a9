/** When to tell others that we write: at the first key, again while it goes on, and once when it stops. */

/** Others believe us this long. */
export const TYPING_TIMEOUT_MS = 20_000;
const REPEAT_MS = 12_000;

export class TypingNotifier {
  #toldAt: number | undefined;

  constructor(
    private readonly tell: (typing: boolean) => void,
    private readonly now: () => number,
  ) {}

  /** The text was changed to something (`writing`) or nothing. */
  changed(writing: boolean): void {
    if (!writing) {
      this.stopped();
      return;
    }
    const now = this.now();
    if (this.#toldAt !== undefined && now - this.#toldAt < REPEAT_MS) return;
    this.#toldAt = now;
    this.tell(true);
  }

  /** The text was sent, emptied or left. */
  stopped(): void {
    if (this.#toldAt === undefined) return;
    this.#toldAt = undefined;
    this.tell(false);
  }
}
