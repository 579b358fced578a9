/** Values that views read, each computed once and again only after it was touched. Listeners are told once per turn. */
export class Topics {
  readonly #values = new Map<string, unknown>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #touched = new Set<string>();

  /** The value of a topic; the same object until the topic is touched. */
  read<T>(topic: string, compute: () => T): T {
    if (!this.#values.has(topic)) this.#values.set(topic, compute());
    return this.#values.get(topic) as T;
  }

  subscribe(topic: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return () => {
      listeners.delete(listener);
    };
  }

  /** Forgets the topic's value and tells its readers, soon. */
  touch(...topics: readonly string[]): void {
    if (this.#touched.size === 0) queueMicrotask(() => this.#tell());
    for (const topic of topics) this.#touched.add(topic);
  }

  #tell(): void {
    const touched = [...this.#touched];
    this.#touched.clear();
    for (const topic of touched) this.#values.delete(topic);
    for (const topic of touched) for (const listener of this.#listeners.get(topic) ?? []) listener();
  }
}
