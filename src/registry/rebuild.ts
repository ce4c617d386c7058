import { equalBytes } from "../core/bytes.ts";
import { Log, storedEntryHash } from "../log/log.ts";
import type { Database } from "../store/database.ts";
import { canonicalDigest } from "../store/dump.ts";
import { decodeEffect } from "./effects.ts";
import { projectionTables } from "./migrations.ts";
import { Projection } from "./projection.ts";

/** What a rebuild did. */
export interface RebuildReport {
  /** The number of log entries that were applied. */
  entries: number;
  /** True if the tables came out as they were before. */
  equal: boolean;
  /** Digest of the tables, before and after. */
  before: string;
  after: string;
}

const batchSize = 1000;

/**
 * Recreates all tables from the log in one transaction, and compares. The hash chain is checked on the way.
 *
 * A crash before the commit leaves the tables as they were.
 *
 * @throws if the hash chain is broken; then nothing is changed
 */
export function rebuild(db: Database, onProgress: (entries: number) => void = () => {}): RebuildReport {
  const log = new Log(db);
  const projection = new Projection(db);
  return db.transaction(() => {
    const before = canonicalDigest(db, projectionTables);
    for (const table of projectionTables) db.exec(`DELETE FROM ${table}`);
    let next = 1;
    let previousHash: Uint8Array = new Uint8Array();
    for (;;) {
      const entries = log.read(next, batchSize);
      for (const entry of entries) {
        const intact =
          entry.index === next &&
          equalBytes(entry.previousHash, previousHash) &&
          equalBytes(storedEntryHash(entry), entry.hash);
        if (!intact) throw new Error(`the log's hash chain is broken at entry ${next}; restore it from a backup`);
        projection.apply({ ...entry, effect: decodeEffect(entry.effectType, entry.effect) });
        previousHash = entry.hash;
        next++;
      }
      onProgress(next - 1);
      if (entries.length < batchSize) break;
    }
    const after = canonicalDigest(db, projectionTables);
    return { entries: next - 1, equal: before === after, before, after };
  })();
}
