import BetterSqlite3 from "better-sqlite3";
import { makeFile } from "./make-file.ts";

// The collector would close a lock that nobody refers to, and so let go of the file.
const held = new Set<BetterSqlite3.Database>();

/**
 * Holds a database file for this process alone. A part has state in memory that follows from the file, such as answers that
 * are ready; a second process on the same file would not see it change.
 *
 * SQLite's lock on an empty file beside it, `<path>.lock`, says who holds it: the system frees it when the process ends,
 * however that happens, so there is nothing to clean up after a crash.
 *
 * @returns lets go of the file; undefined if another process holds it
 * @throws UnusableFileError if there can be no file beside it
 */
export function holdAlone(path: string): (() => void) | undefined {
  return hold(path, "BEGIN EXCLUSIVE");
}

/**
 * Holds a file together with others: as long as one of them does, {@link holdAlone} is refused, and the other way round.
 *
 * @returns lets go of the file; undefined if another process holds it alone
 * @throws as {@link holdAlone}
 */
export function holdTogether(path: string): (() => void) | undefined {
  return hold(path, "BEGIN; SELECT 1 FROM sqlite_schema");
}

function hold(path: string, sql: string): (() => void) | undefined {
  const lockFile = `${path}.lock`;
  makeFile(lockFile);
  const lock = new BetterSqlite3(lockFile, { timeout: 0 });
  try {
    lock.pragma("journal_mode = MEMORY"); // no further file
    lock.exec(sql);
  } catch (error) {
    lock.close();
    if ((error as { code?: unknown }).code === "SQLITE_BUSY") return;
    throw error;
  }
  held.add(lock);
  return () => {
    held.delete(lock);
    lock.close();
  };
}
