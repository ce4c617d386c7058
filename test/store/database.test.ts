import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Database,
  DatabaseInUseError,
  type Migration,
  openDatabase,
  openDatabaseAlone,
} from "../../src/store/database.ts";
import { temporaryFolder } from "../support/files.ts";

const first: Migration = "CREATE TABLE notes (note TEXT NOT NULL) STRICT; INSERT INTO notes VALUES ('first');";
const second: Migration = "ALTER TABLE notes ADD COLUMN author TEXT; INSERT INTO notes VALUES ('second', 'me');";

function open(path: string, migrations: readonly Migration[] = [first]): Database {
  const db = openDatabase(path, migrations);
  onTestFinished(() => void db.close());
  return db;
}

function newPath(): string {
  return join(temporaryFolder(), "notes.db");
}

function notes(db: Database): string[] {
  return db.prepare<[], string>("SELECT note FROM notes").pluck().all();
}

/** The permissions of a file, as in `chmod`. */
function modeOf(path: string): number {
  return statSync(path).mode & 0o777;
}

test("the file and its side files are readable by their owner alone", () => {
  const path = newPath();
  open(path).exec("INSERT INTO notes VALUES ('another')");
  expect([path, `${path}-wal`, `${path}-shm`].map(modeOf)).toEqual([0o600, 0o600, 0o600]);
});

test("a file that others could read is closed to them", () => {
  const path = newPath();
  writeFileSync(path, "", { mode: 0o644 });
  open(path);
  expect(modeOf(path)).toBe(0o600);
});

test("what is committed is on disk: write-ahead log, synchronised in full", () => {
  const db = open(newPath());
  const pragma = (name: string) => db.pragma(name, { simple: true });
  expect(pragma("journal_mode")).toBe("wal");
  const FULL = 2;
  expect(pragma("synchronous")).toBe(FULL);
  expect(pragma("foreign_keys")).toBe(1);
});

test("each migration runs once, in order, whenever it comes", () => {
  const path = newPath();
  open(path, [first]).close();
  open(path, [first]).close();
  expect(notes(open(path, [first, second]))).toEqual(["first", "second"]);
  expect(notes(open(path, [first, second]))).toEqual(["first", "second"]);
});

test("a file of a newer version is refused, and left as it is", () => {
  const path = newPath();
  open(path, [first, second]).close();
  expect(() => open(path, [first])).toThrow(/newer version/);
  expect(notes(open(path, [first, second]))).toEqual(["first", "second"]);
});

test("a migration that fails leaves nothing behind, and the ones before it in place", () => {
  const path = newPath();
  const broken = "INSERT INTO notes VALUES ('half'); INSERT INTO nowhere VALUES (1);";
  expect(() => open(path, [first, broken])).toThrow(/nowhere/);
  const db = open(path, [first]);
  expect(notes(db)).toEqual(["first"]);
  expect(db.pragma("user_version", { simple: true })).toBe(1);
});

test("a database in memory needs no file", () => {
  expect(notes(open(":memory:", [first, second]))).toEqual(["first", "second"]);
});

describe("a database that is opened alone", () => {
  const migrations = ["CREATE TABLE t (n INTEGER) STRICT"];
  const file = () => {
    const path = join(temporaryFolder(), "part.db");
    openDatabase(path, migrations).close();
    return path;
  };

  test("is not had while anybody has it open, idle or not, in this process or another", async () => {
    const path = file();
    const db = openDatabase(path, migrations);
    expect(() => openDatabaseAlone(path, migrations)).toThrow(DatabaseInUseError);
    db.prepare("INSERT INTO t VALUES (1)").run();
    expect(() => openDatabaseAlone(path, migrations)).toThrow(DatabaseInUseError);
    db.close();
    const script = `const db = new (require("better-sqlite3"))(process.argv[1]); db.pragma("journal_mode = WAL");
      db.prepare("SELECT * FROM t").all(); console.log("open"); process.stdin.resume(); process.stdin.on("end", () => db.close());`;
    const other = spawn(process.execPath, ["-e", script, path], { stdio: ["pipe", "pipe", "inherit"] });
    await once(other.stdout, "data");
    expect(() => openDatabaseAlone(path, migrations)).toThrow(DatabaseInUseError);
    other.stdin.end();
    await once(other, "exit");
    openDatabaseAlone(path, migrations).close();
  });

  test("is nobody else's until it is closed, and then as it was, with what was done", () => {
    const path = file();
    const alone = openDatabaseAlone(path, migrations);
    alone.prepare("INSERT INTO t VALUES (7)").run();
    expect(() => openDatabaseAlone(path, migrations)).toThrow(DatabaseInUseError);
    const other = new BetterSqlite3(path, { timeout: 0 });
    expect(() => other.prepare("SELECT * FROM t").all()).toThrow(/locked/);
    other.close();
    alone.close();
    const db = openDatabase(path, migrations);
    expect(db.prepare("SELECT n FROM t").pluck().all()).toEqual([7]);
    expect(db.pragma("journal_mode", { simple: true })).toBe("wal");
    db.close();
  });

  test("is not made", () => {
    expect(() => openDatabaseAlone(join(temporaryFolder(), "none.db"), migrations)).toThrow();
  });
});
