/** A map that holds at most `capacity` entries and drops the one that was not used for the longest time. */
export class LruCache<Key, Value> {
  readonly #capacity: number;
  // A Map iterates in insertion order, so the first entry is the least recently used one.
  readonly #entries = new Map<Key, Value>();
  /** What was used last: getting it again moves nothing. */
  #newest: Key | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** The value for `key`, which becomes the most recently used; undefined if there is none. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined && key !== this.#newest) {
      this.#entries.delete(key);
      this.#entries.set(key, value);
      this.#newest = key;
    }
    return value;
  }

  set(key: Key, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    this.#newest = key;
    if (this.#entries.size > this.#capacity) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
  }

  delete(key: Key): void {
    this.#entries.delete(key);
  }
}
