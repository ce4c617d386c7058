import { CommittedCache } from "../store/committed-cache.ts";
import type { Database } from "../store/database.ts";
import { integerParameter, textParameter } from "../store/parameters.ts";
import { entryHash } from "./entry-hash.ts";

/** The table of the log; part of the registry's first migration. */
export const logMigration = `
  CREATE TABLE log (
    entry_index   INTEGER PRIMARY KEY,
    time          INTEGER NOT NULL,
    statement_id  BLOB NOT NULL UNIQUE,
    statement     BLOB NOT NULL,
    private       INTEGER NOT NULL,
    effect_type   TEXT NOT NULL,
    effect        BLOB NOT NULL,
    previous_hash BLOB NOT NULL,
    hash          BLOB NOT NULL,
    app_id        TEXT,
    sequence      INTEGER,
    event         BLOB
  ) STRICT;
  CREATE UNIQUE INDEX log_by_app ON log (app_id, sequence) WHERE app_id IS NOT NULL;
`;

/** The last entry of the log; index 0 and an empty hash while there is none. */
export interface LogHead {
  index: number;
  /** Unix seconds. */
  time: number;
  hash: Uint8Array;
}

/** What {@link Log.append} adds. */
export interface NewEntry {
  /** Unix seconds; never less than the head's. */
  time: number;
  statementId: Uint8Array;
  /** The encoded Statement that was accepted. */
  statement: Uint8Array;
  /** True if the statement's body may not be shown to strangers. */
  private: boolean;
  /** Full protobuf name of the effect. */
  effectType: string;
  /** The effect in the deterministic encoding. */
  effect: Uint8Array;
  /** The event that tells listeners of the app about it: the encoded signed Statement. Absent if no app is concerned. */
  event?: { appId: string; sequence: number; statement: Uint8Array };
}

/** One entry as it is stored. */
export interface StoredEntry {
  index: number;
  time: number;
  statementId: Uint8Array;
  statement: Uint8Array;
  private: boolean;
  effectType: string;
  effect: Uint8Array;
  previousHash: Uint8Array;
  hash: Uint8Array;
}

/** One event as it is stored. */
export interface StoredEvent {
  index: number;
  appId: string;
  sequence: number;
  /** The encoded signed Statement. */
  statement: Uint8Array;
}

/**
 * The append-only log: the one source of truth. State is what follows from its effects; the outbox of events is its tail.
 * Appending belongs into the transaction of the change.
 */
export class Log {
  readonly #kept: CommittedCache<LogHead>;
  readonly #head;
  readonly #insert;
  readonly #find;
  readonly #hashAt;
  readonly #read;
  readonly #appEvents;
  readonly #allEvents;

  constructor(db: Database) {
    this.#kept = new CommittedCache(db, 1);
    this.#head = db.prepare<[], { index: number; time: number; hash: Uint8Array }>(
      `SELECT entry_index AS "index", time, hash FROM log ORDER BY entry_index DESC LIMIT 1`,
    );
    this.#insert = db.prepare(
      `INSERT INTO log (entry_index, time, statement_id, statement, private, effect_type, effect, previous_hash, hash,
                        app_id, sequence, event)
       VALUES (@index, @time, @statementId, @statement, @private, @effectType, @effect, @previousHash, @hash,
               @appId, @sequence, @event)`,
    );
    const columns = `entry_index AS "index", time, statement_id AS statementId, statement, private,
       effect_type AS effectType, effect, previous_hash AS previousHash, hash`;
    this.#find = db.prepare<[Uint8Array], EntryRow>(`SELECT ${columns} FROM log WHERE statement_id = ?`);
    this.#hashAt = db.prepare<[bigint], Uint8Array>("SELECT hash FROM log WHERE entry_index = ?").pluck();
    this.#read = db.prepare<[number, number], EntryRow>(
      `SELECT ${columns} FROM log WHERE entry_index >= ? ORDER BY entry_index LIMIT ${integerParameter}`,
    );
    const eventColumns = `entry_index AS "index", app_id AS appId, sequence, event AS statement`;
    this.#appEvents = db.prepare<[string, number, number], StoredEvent>(
      `SELECT ${eventColumns} FROM log
       WHERE app_id = ${textParameter} AND sequence > ? ORDER BY sequence LIMIT ${integerParameter}`,
    );
    this.#allEvents = db.prepare<[number, number], StoredEvent>(
      `SELECT ${eventColumns} FROM log
       WHERE entry_index > ? AND app_id IS NOT NULL ORDER BY entry_index LIMIT ${integerParameter}`,
    );
  }

  /** The last entry. */
  head(): LogHead {
    return this.#kept.get("head", () => this.#head.get() ?? { index: 0, time: 0, hash: new Uint8Array() });
  }

  /** To be called when another process may have appended entries. */
  refresh(): void {
    this.#kept.clear();
  }

  /**
   * Appends an entry behind `expected`, the head that the caller's decision was built on.
   *
   * @returns the new head
   * @throws if the log has moved on or time went back; both are bugs of the caller, as decisions run one by one
   */
  append(expected: LogHead, entry: NewEntry): LogHead {
    const head = this.head();
    if (head.index !== expected.index) throw new Error(`log is at ${head.index}, expected ${expected.index}`);
    if (entry.time < head.time) throw new Error("log time went back");
    const index = head.index + 1;
    const hash = storedEntryHash({ ...entry, index, previousHash: head.hash });
    this.#insert.run({
      ...entry,
      index,
      private: entry.private ? 1 : 0,
      previousHash: head.hash,
      hash,
      appId: entry.event?.appId ?? null,
      sequence: entry.event?.sequence ?? null,
      event: entry.event?.statement ?? null,
    });
    this.#kept.clear();
    return { index, time: entry.time, hash };
  }

  /** The entry of an accepted statement. */
  find(statementId: Uint8Array): StoredEntry | undefined {
    const row = this.#find.get(statementId);
    return row === undefined ? undefined : toEntry(row);
  }

  /** The hash of the entry at an index; empty if there is none. */
  hashAt(index: bigint): Uint8Array {
    return index > BigInt(this.head().index) ? new Uint8Array() : (this.#hashAt.get(index) ?? new Uint8Array());
  }

  /** Up to `limit` entries from index `start` on. */
  read(start: number, limit: number): StoredEntry[] {
    return this.#read.all(start, limit).map(toEntry);
  }

  /** The index of the last entry that was made before a time, in Unix seconds; 0 if there is none. */
  lastBefore(time: number): number {
    let low = 0;
    let high = this.head().index;
    // Time never goes back along the log.
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [entry] = this.read(middle, 1);
      if (entry !== undefined && entry.time < time) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Up to `limit` events of one app after a sequence. */
  eventsOfApp(appId: string, afterSequence: number, limit: number): StoredEvent[] {
    return this.#appEvents.all(appId, afterSequence, limit);
  }

  /** Up to `limit` events of all apps after a log index. */
  eventsAfter(afterIndex: number, limit: number): StoredEvent[] {
    return this.#allEvents.all(afterIndex, limit);
  }
}

/** The hash of an entry as it is stored. */
export function storedEntryHash(entry: Omit<StoredEntry, "hash" | "statement" | "private">): Uint8Array {
  return entryHash({ ...entry, index: BigInt(entry.index), time: BigInt(entry.time) });
}

type EntryRow = Omit<StoredEntry, "private"> & { private: number };

function toEntry(row: EntryRow): StoredEntry {
  return { ...row, private: row.private !== 0 };
}
