import { parseAppId } from "../../core/app-id.ts";
import type { Database } from "../../store/database.ts";

/**
 * The tables of a subscriber, for the migrations of a part that has one.
 *
 * - `event_cursors`: of each app, the sequence of the last event whose effect is in place.
 * - `seen_logs`: of each registry, the greatest log index that it ever named, and the latest head whose hash is known. Both
 *   only grow: by them a registry is caught that was restored from an old backup.
 */
export const subscriberMigration = `
  CREATE TABLE event_cursors (
    app_id   TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE seen_logs (
    registry   TEXT NOT NULL PRIMARY KEY,
    log_index  INTEGER NOT NULL,
    head_index INTEGER NOT NULL DEFAULT 0,
    head_hash  BLOB
  ) STRICT, WITHOUT ROWID;
`;

/** A head of a registry's log: the index of an entry and its hash. */
export type LogHead = { readonly index: bigint; readonly hash: Uint8Array };

/** What a registry has said of its log. */
export type SeenLog = {
  /** The greatest index that it named. */
  readonly index: bigint;
  /** The latest head with a hash; undefined if there is none. */
  readonly head: LogHead | undefined;
};

/** How far a part has come with an app. */
export type AppCursor = { readonly appId: string; readonly sequence: number };

type SeenRow = { log_index: number; head_index: number; head_hash: Buffer | null };

/** The tables of a subscriber. Methods that change them belong into a job of the part's WriteQueue. */
export class Cursors {
  readonly #sequence;
  readonly #advance;
  readonly #seen;
  readonly #sawIndex;
  readonly #sawHead;
  readonly #all;
  readonly #forget;
  readonly #forgetLog;

  constructor(db: Database) {
    this.#sequence = db.prepare<[string], number>("SELECT sequence FROM event_cursors WHERE app_id = ?").pluck();
    this.#advance = db.prepare<[string, bigint]>(
      `INSERT INTO event_cursors (app_id, sequence) VALUES (?, ?)
         ON CONFLICT (app_id) DO UPDATE SET sequence = excluded.sequence`,
    );
    this.#seen = db.prepare<[string], SeenRow>("SELECT * FROM seen_logs WHERE registry = ?");
    this.#sawIndex = db.prepare<[string, bigint]>(
      `INSERT INTO seen_logs (registry, log_index) VALUES (?, ?)
         ON CONFLICT (registry) DO UPDATE SET log_index = max(log_index, excluded.log_index)`,
    );
    this.#sawHead = db.prepare<[bigint, Uint8Array, string, bigint]>(
      "UPDATE seen_logs SET head_index = ?, head_hash = ? WHERE registry = ? AND head_index < ?",
    );
    this.#all = db.prepare<[], AppCursor>("SELECT app_id AS appId, sequence FROM event_cursors ORDER BY app_id");
    this.#forget = db.prepare<[string]>("DELETE FROM event_cursors WHERE app_id = ?");
    this.#forgetLog = db.prepare<[string]>("DELETE FROM seen_logs WHERE registry = ?");
  }

  /** The sequence of the last event of an app whose effect is in place; 0 if there is none. */
  sequence(appId: string): bigint {
    return BigInt(this.#sequence.get(appId) ?? 0);
  }

  /** Notes that the effect of an event is in place. */
  advance(appId: string, sequence: bigint): void {
    this.#advance.run(appId, sequence);
  }

  /** What a registry has said of its log. */
  seenLog(registry: string): SeenLog {
    const row = this.#seen.get(registry);
    if (row === undefined) return { index: 0n, head: undefined };
    const { log_index: index, head_index: headIndex, head_hash: hash } = row;
    return {
      index: BigInt(index),
      head: hash === null ? undefined : { index: BigInt(headIndex), hash: new Uint8Array(hash) },
    };
  }

  /** How far the part has come with each app of a registry. */
  ofRegistry(registry: string): AppCursor[] {
    return this.#all.all().filter(({ appId }) => parseAppId(appId)?.registryDomain === registry);
  }

  /** Forgets all that a registry has said, so that it is read from the beginning and believed whatever it says then. */
  forget(registry: string): void {
    for (const { appId } of this.ofRegistry(registry)) this.#forget.run(appId);
    this.#forgetLog.run(registry);
  }

  /** Notes that a registry named an entry of its log. */
  sawIndex(registry: string, index: bigint): void {
    this.#sawIndex.run(registry, index);
  }

  /** Notes a head of a registry's log. */
  sawHead(registry: string, { index, hash }: LogHead): void {
    this.#sawIndex.run(registry, index);
    this.#sawHead.run(index, hash, registry, index);
  }
}
