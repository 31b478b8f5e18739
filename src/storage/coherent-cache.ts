interface Entry<V> {
  readonly value: V;
  readonly owner: string;
  readonly bytes: number;
  /** Entries stored before this one was last moved to the young end. */
  movedAt: number;
}

/** An entry is as good as young while so few have been stored since it was moved: a hit then costs one look-up. */
const YOUNG = 16;

/** Invalidations remembered before the overtaken ones are looked for. */
const PRUNE_AT = 1_024;

/**
 * A least-recently-used cache, bounded by entries and by approximate bytes, that never keeps what a change has overtaken.
 * Every entry belongs to an owner (an object, a principal); `invalidate(owner)` drops all of its entries, and a value that was
 * being read while that happened is answered but not kept (it may be the state before the change), nor joined by later readers.
 */
export class CoherentCache<V> {
  readonly #entries = new Map<string, Entry<V>>();
  readonly #keysOf = new Map<string, Set<string>>();
  readonly #inFlight = new Map<string, Promise<V | undefined>>();
  /** Invalidations since the oldest running read, by owner: the counter at that moment. */
  readonly #invalidatedAt = new Map<string, number>();
  readonly #limits: { readonly entries: number; readonly bytes: number };
  #counter = 0;
  #stored = 0;
  #clearedAt = 0;
  /** Running reads by the counter at their beginning; the first key is the oldest, as the counter only grows. */
  readonly #marks = new Map<number, number>();
  #pruneAt = PRUNE_AT;
  #bytes = 0;

  constructor(limits: { readonly entries: number; readonly bytes: number }) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Invalidations that running reads may still be overtaken by. */
  get remembered(): number {
    return this.#invalidatedAt.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (this.#stored - entry.movedAt >= YOUNG) {
      entry.movedAt = this.#stored;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return entry.value;
  }

  /** Begins something whose result may be stored by `putSince`; every mark must be given back with `unmark`. */
  mark(): number {
    this.#marks.set(this.#counter, (this.#marks.get(this.#counter) ?? 0) + 1);
    return this.#counter;
  }

  unmark(mark: number): void {
    const running = (this.#marks.get(mark) ?? 1) - 1;
    if (running > 0) this.#marks.set(mark, running);
    else this.#marks.delete(mark);
    if (this.#marks.size === 0) this.#invalidatedAt.clear();
    else if (this.#invalidatedAt.size > this.#pruneAt) this.#prune();
  }

  /** Under steady load some read is always running; what no running read can be overtaken by any more is forgotten. */
  #prune(): void {
    const oldest = this.#marks.keys().next().value ?? this.#counter;
    for (const [owner, at] of this.#invalidatedAt) if (at <= oldest) this.#invalidatedAt.delete(owner);
    this.#pruneAt = Math.max(PRUNE_AT, 2 * this.#invalidatedAt.size);
  }

  /** Stores unless the owner was invalidated after the mark. */
  putSince(mark: number, key: string, owner: string, value: V, bytes: number): void {
    if (this.#clearedAt > mark || (this.#invalidatedAt.get(owner) ?? 0) > mark) return;
    this.#drop(key);
    this.#stored += 1;
    this.#entries.set(key, { value, owner, bytes, movedAt: this.#stored });
    this.#bytes += bytes;
    const keys = this.#keysOf.get(owner);
    if (keys === undefined) this.#keysOf.set(owner, new Set([key]));
    else keys.add(key);
    while (this.#entries.size > this.#limits.entries || this.#bytes > this.#limits.bytes) {
      const oldest = this.#entries.keys().next();
      if (oldest.done === true) break;
      this.#drop(oldest.value);
    }
  }

  /** Reads through: one `fetch` for callers that ask at the same time. `store` says under which keys to keep the value. */
  async through(
    key: string,
    fetch: () => Promise<V | undefined>,
    store: (value: V, keep: (key: string, owner: string, bytes: number) => void) => void,
  ): Promise<V | undefined> {
    const cached = this.get(key);
    if (cached !== undefined) return cached;
    const running = this.#inFlight.get(key);
    if (running !== undefined) return running;
    const promise = this.#fetchMarked(fetch, store);
    this.#inFlight.set(key, promise);
    const forget = () => {
      if (this.#inFlight.get(key) === promise) this.#inFlight.delete(key);
    };
    promise.then(forget, forget);
    return promise;
  }

  async #fetchMarked(
    fetch: () => Promise<V | undefined>,
    store: (value: V, keep: (key: string, owner: string, bytes: number) => void) => void,
  ): Promise<V | undefined> {
    const mark = this.mark();
    try {
      const value = await fetch();
      if (value !== undefined) store(value, (under, owner, bytes) => this.putSince(mark, under, owner, value, bytes));
      return value;
    } finally {
      this.unmark(mark);
    }
  }

  /** Replaces the value of an owner's entries in place, e.g. with newer counters. */
  revise(owner: string, change: (value: V) => V): void {
    const keys = this.#keysOf.get(owner);
    if (keys === undefined) return;
    let revised: { before: V; after: V } | undefined;
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (revised === undefined || revised.before !== entry.value) revised = { before: entry.value, after: change(entry.value) };
      this.#entries.set(key, { ...entry, value: revised.after });
    }
  }

  invalidate(owner: string): void {
    this.#counter += 1;
    if (this.#marks.size > 0) this.#invalidatedAt.set(owner, this.#counter);
    // Whose results the running reads are is not known yet (an alias may lead to this owner): nobody may join them any more.
    this.#inFlight.clear();
    const keys = this.#keysOf.get(owner);
    if (keys !== undefined) for (const key of [...keys]) this.#drop(key);
  }

  /** Owners of the values kept that satisfy `test`. */
  ownersWhere(test: (value: V) => boolean): string[] {
    const owners = new Set<string>();
    for (const entry of this.#entries.values()) if (test(entry.value)) owners.add(entry.owner);
    return [...owners];
  }

  /** Keeps nothing of what is being read now, for a change whose owner is not known. */
  invalidateRunning(): void {
    this.#counter += 1;
    if (this.#marks.size > 0) this.#clearedAt = this.#counter;
    this.#inFlight.clear();
  }

  clear(): void {
    this.#counter += 1;
    this.#clearedAt = this.#counter;
    this.#inFlight.clear();
    this.#entries.clear();
    this.#keysOf.clear();
    this.#bytes = 0;
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    const keys = this.#keysOf.get(entry.owner);
    keys?.delete(key);
    if (keys?.size === 0) this.#keysOf.delete(entry.owner);
  }
}
