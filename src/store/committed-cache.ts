import type { Database } from "./database.ts";

/**
 * Keeps what was read of a table that is read far more often than it is written. Only what is committed is kept: nothing
 * that was read within a transaction, so that what it changed does not outlive it if it is rolled back.
 *
 * Whoever changes the table says so with {@link forget} or {@link clear} after the change. In a process that only reads, whoever
 * notices that another one has written calls {@link clear}.
 */
export class CommittedCache<Value> {
  readonly #db: Database;
  readonly #capacity: number;
  readonly #kept = new Map<string, { readonly value: Value }>();
  #changes = 0;

  /** @param capacity the most values that are kept; when it is reached, all are forgotten */
  constructor(db: Database, capacity = 10_000) {
    this.#db = db;
    this.#capacity = capacity;
  }

  /** The value under a key: as it is kept, or as `read` reads it. */
  get(key: string, read: () => Value): Value {
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept.value;
    const value = read();
    if (this.#db.inTransaction) return value;
    if (this.#kept.size >= this.#capacity) this.#kept.clear();
    this.#kept.set(key, { value });
    return value;
  }

  /** How often a value has changed. What was concluded from committed values holds while this stays the same. */
  get changes(): number {
    return this.#changes;
  }

  /** The value under a key has changed. */
  forget(key: string): void {
    this.#changes++;
    this.#kept.delete(key);
  }

  /** Any value may have changed. */
  clear(): void {
    this.#changes++;
    this.#kept.clear();
  }
}
