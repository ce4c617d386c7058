import { chmodSync, existsSync, statSync } from "node:fs";
import BetterSqlite3 from "better-sqlite3";
import { UnusableFileError } from "../core/unusable-file.ts";
import { makeFile } from "./make-file.ts";

/** An open SQLite database. All statements run synchronously. */
export type Database = BetterSqlite3.Database;

/**
 * One step of a schema's history, as SQL. Steps are only ever appended: the number of steps that a file has seen is its
 * `user_version`.
 */
export type Migration = string;

// SQLite's own 2 MiB do not hold the inner pages of tables with a million rows. Memory is taken as pages are read.
const PAGE_CACHE_KIB = 49_152;

/**
 * Opens or makes the database at `path` (`:memory:` for none) and brings its schema up to date.
 *
 * Durability: write-ahead log with `synchronous = FULL`, so what was committed survives the loss of power. The file is
 * readable by its owner alone (0600), as parts keep private keys in it; SQLite gives its side files the same mode.
 *
 * @param migrations all steps, oldest first; each runs once, in a transaction of its own
 * @throws UnusableFileError if the file can't be opened, is no database, or is from a newer version than `migrations` knows
 */
export function openDatabase(path: string, migrations: readonly Migration[]): Database {
  if (path !== ":memory:") createPrivateFile(path);
  const db = open(path, "journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma("foreign_keys = ON");
  db.pragma("busy_timeout = 5000");
  db.pragma("trusted_schema = OFF");
  db.pragma(`cache_size = -${PAGE_CACHE_KIB}`);
  migrate(db, migrations);
  // What a job of a batch may have to take back is kept in memory: pages beyond 64 KiB would go to a temporary file. Not what
  // a migration sorts, which has no bound.
  db.pragma("temp_store = MEMORY");
  return db;
}

/**
 * Opens a database that another process writes, to read what that has committed. Nothing is changed: only what SQLite's
 * connections share is written, and whoever closes the file last moves what was committed from the write-ahead log into it.
 *
 * @param migrations as of {@link openDatabase}
 * @throws UnusableFileError if there is no such file, it can't be opened or is no database, or as {@link checkSchema}
 */
export function openForReading(path: string, migrations: readonly Migration[]): Database {
  if (!existsSync(path))
    throw new UnusableFileError(`${path} does not exist`, "Start the process first that makes it.");
  const db = open(path, "user_version");
  db.pragma("query_only = ON");
  db.pragma("busy_timeout = 5000");
  db.pragma("trusted_schema = OFF");
  db.pragma(`cache_size = -${PAGE_CACHE_KIB}`);
  try {
    checkSchema(db, migrations);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

/**
 * Another process may have brought the schema up to date meanwhile.
 *
 * @throws UnusableFileError if it is not of the version that `migrations` lead to
 */
export function checkSchema(db: Database, migrations: readonly Migration[]): void {
  const seen = schemaVersion(db);
  if (seen === migrations.length) return;
  throw new UnusableFileError(
    `${db.name} is of another version (schema ${seen}, this version knows ${migrations.length})`,
    "Start the process that writes it with this version first.",
  );
}

/** Which file a path leads to: something else when another one was put in its place; undefined if there is none. */
export function fileAt(path: string): string | undefined {
  const found = statSync(path, { bigint: true, throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}

/** True for what SQLite reports: an I/O error, a full disk, a file that is locked or damaged. */
export function isDatabaseError(error: unknown): boolean {
  return error instanceof BetterSqlite3.SqliteError;
}

function schemaVersion(db: Database): number {
  return Number(db.pragma("user_version", { simple: true }));
}

/** @param first a pragma that reads the file, so that what is no database is found out */
function open(path: string, first: string): Database {
  let db: Database | undefined;
  try {
    db = new BetterSqlite3(path);
    db.pragma(first);
    return db;
  } catch (error) {
    db?.close();
    const problem = OPENING_PROBLEMS.get((error as { code?: unknown }).code);
    if (problem === undefined) throw error;
    throw new UnusableFileError(`${path} ${problem}`, "Check the path, or restore the file from a backup.", error);
  }
}

/** What is wrong with the file, by SQLite's code. */
const OPENING_PROBLEMS: ReadonlyMap<unknown, string> = new Map([
  ["SQLITE_NOTADB", "is not a database"],
  ["SQLITE_CANTOPEN", "can't be opened"],
]);

/** Makes the file with mode 0600 before SQLite does, so that it is at no time readable by others. */
function createPrivateFile(path: string): void {
  makeFile(path);
  chmodSync(path, 0o600);
}

function migrate(db: Database, migrations: readonly Migration[]): void {
  const seen = schemaVersion(db);
  if (seen > migrations.length) {
    const name = db.name;
    db.close();
    throw new UnusableFileError(
      `${name} was written by a newer version (schema ${seen}, this version knows ${migrations.length})`,
      "Start the newer version again, or restore a copy of the file from before it.",
    );
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < seen) continue;
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${index + 1}`);
    })();
  }
}
