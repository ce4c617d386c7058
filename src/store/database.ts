import { chmodSync, closeSync, openSync } from "node:fs";
import BetterSqlite3 from "better-sqlite3";

/** An open SQLite database. All statements run synchronously. */
export type Database = BetterSqlite3.Database;

/**
 * One step of a schema's history, as SQL. Steps are only ever appended: the number of steps that a file has seen is its
 * `user_version`.
 */
export type Migration = string;

/**
 * Opens or makes the database at `path` (`:memory:` for none) and brings its schema up to date.
 *
 * Durability: write-ahead log with `synchronous = FULL`, so what was committed survives the loss of power. The file is
 * readable by its owner alone (0600), as parts keep private keys in it; SQLite gives its side files the same mode.
 *
 * @param migrations all steps, oldest first; each runs once, in a transaction of its own
 * @throws if the file is from a newer version than `migrations` knows
 */
export function openDatabase(path: string, migrations: readonly Migration[]): Database {
  if (path !== ":memory:") createPrivateFile(path);
  const db = new BetterSqlite3(path);
  prepare(db, migrations);
  return db;
}

function prepare(db: Database, migrations: readonly Migration[]): void {
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = FULL");
  db.pragma("foreign_keys = ON");
  db.pragma("busy_timeout = 5000");
  db.pragma("trusted_schema = OFF");
  migrate(db, migrations);
}

/** A database can't be had alone, as somebody has it open. */
export class DatabaseInUseError extends Error {
  override readonly name = "DatabaseInUseError";
  readonly nextStep = "Stop the part that it belongs to, and run the same command again.";
}

/**
 * Opens an existing database for maintenance: until it is closed, nobody else can read or write it.
 *
 * @throws DatabaseInUseError if anybody has it open, in this process or another
 * @throws if there is no such file, or it is from a newer version
 */
export function openDatabaseAlone(path: string, migrations: readonly Migration[]): Database {
  const db = new BetterSqlite3(path, { fileMustExist: true, timeout: 0 });
  try {
    db.pragma("locking_mode = EXCLUSIVE");
    // Whoever has a database in WAL mode open keeps a shared lock on it, so only its last user can leave that mode.
    db.pragma("journal_mode = DELETE");
    // Begun with the lock that is then kept.
    db.exec("BEGIN EXCLUSIVE; COMMIT");
  } catch (cause) {
    db.close();
    if (!isBusy(cause)) throw cause;
    throw new DatabaseInUseError(`${path} is in use`, { cause });
  }
  prepare(db, migrations);
  return db;
}

function isBusy(error: unknown): boolean {
  return error instanceof BetterSqlite3.SqliteError && /^SQLITE_(?:BUSY|LOCKED)/.test(error.code);
}

/** Makes the file with mode 0600 before SQLite does, so that it is at no time readable by others. */
function createPrivateFile(path: string): void {
  closeSync(openSync(path, "a", 0o600));
  chmodSync(path, 0o600);
}

function migrate(db: Database, migrations: readonly Migration[]): void {
  const seen = Number(db.pragma("user_version", { simple: true }));
  if (seen > migrations.length) {
    const name = db.name;
    db.close();
    throw new Error(`${name} was written by a newer version (schema ${seen}, this version knows ${migrations.length})`);
  }
  for (const [index, sql] of migrations.entries()) {
    if (index < seen) continue;
    db.transaction(() => {
      db.exec(sql);
      db.pragma(`user_version = ${index + 1}`);
    })();
  }
}
