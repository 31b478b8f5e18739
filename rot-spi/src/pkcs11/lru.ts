/** Bounded map, least recently used first out. */
export class Lru<V> {
  readonly #entries = new Map<string, V>();
  readonly #limit: number;
  readonly #onEvict: (value: V) => void;

  constructor(limit: number, onEvict: (value: V) => void) {
    this.#limit = Math.max(1, limit);
    this.#onEvict = onEvict;
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    this.drop(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#limit) return;
    for (const [oldest] of this.#entries) {
      this.drop(oldest);
      return;
    }
  }

  drop(key: string): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#onEvict(value);
  }

  /** Forgets everything without releasing: for when the handles are dead anyway. */
  abandon(): void {
    this.#entries.clear();
  }

  get size(): number {
    return this.#entries.size;
  }
}
