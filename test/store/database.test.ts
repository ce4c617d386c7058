import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { UnusableFileError } from "../../src/core/unusable-file.ts";
import { type Database, type Migration, openDatabase, openForReading } from "../../src/store/database.ts";
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

test.each([
  ["writing", openDatabase],
  ["reading", openForReading],
])("for %s, what is no database is refused as an unusable file", (_, opened) => {
  const text = newPath();
  writeFileSync(text, "no database at all, but long enough for one");
  const folder = newPath();
  mkdirSync(folder);
  for (const path of [text, folder]) expect(() => opened(path, [first])).toThrow(UnusableFileError);
});

test("a reader sees each commit, keeps none from its file, and closes the file as the writer would", () => {
  const path = newPath();
  const writer = openDatabase(path, [first]);
  const reader = openForReading(path, [first]);
  const note = "n".repeat(100_000);
  const insert = writer.prepare("INSERT INTO notes VALUES (?)");
  const count = reader.prepare<[], number>("SELECT count(*) FROM notes").pluck();
  let largest = 0;
  for (let written = 1; written <= 150; written++) {
    insert.run(note);
    expect(count.get()).toBe(1 + written);
    largest = Math.max(largest, statSync(`${path}-wal`).size);
  }
  // 15 MB were written; SQLite begins the write-ahead log anew after about 4 MB, as long as nobody needs what is in it.
  expect(largest).toBeLessThan(8_000_000);

  writer.close();
  expect(count.get()).toBe(151);
  reader.close();
  expect(existsSync(`${path}-wal`)).toBe(false);
  expect(notes(open(path))).toHaveLength(151);
});

test("a reader writes nothing", () => {
  const path = newPath();
  open(path);
  const reader = openForReading(path, [first]);
  onTestFinished(() => void reader.close());
  expect(() => reader.exec("INSERT INTO notes VALUES ('mine')")).toThrow(/readonly/);
});

test("a database in memory needs no file", () => {
  expect(notes(open(":memory:", [first, second]))).toEqual(["first", "second"]);
});
