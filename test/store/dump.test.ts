import { expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { canonicalDump } from "../../src/store/dump.ts";

function filled(schema: string, rows: readonly string[]): Database {
  const db = openDatabase(":memory:", [schema]);
  onTestFinished(() => void db.close());
  for (const row of rows) db.exec(`INSERT INTO items (name, size, body) VALUES ${row}`);
  return db;
}

const schema = "CREATE TABLE items (name TEXT, size INTEGER, body BLOB) STRICT;";
const rows = ["('a', 1, x'00ff')", "('b', NULL, x'')", "('a', 1, x'00ff')"];

test("one line a row, sorted, blobs in hexadecimal", () => {
  expect(canonicalDump(filled(schema, rows), ["items"]).lines).toEqual([
    `["items",{"body":"x''","name":"b","size":null}]`,
    `["items",{"body":"x'00ff'","name":"a","size":1}]`,
    `["items",{"body":"x'00ff'","name":"a","size":1}]`,
  ]);
});

test("neither the order of rows nor that of columns matters", () => {
  const other = "CREATE TABLE items (body BLOB, name TEXT, size INTEGER) STRICT;";
  const one = canonicalDump(filled(schema, rows), ["items"]);
  expect(canonicalDump(filled(other, [...rows].reverse()), ["items"])).toEqual(one);
});

test.each([
  ["a row more", [...rows, "('c', 1, x'00')"]],
  ["a row that is there once less", rows.slice(0, 2)],
  ["a text for a blob", ["('a', 1, x'00ff')", "('b', NULL, NULL)", "('a', 1, x'00ff')"]],
  ["an empty text for none", ["('a', 1, x'00ff')", "('', NULL, x'')", "('a', 1, x'00ff')"]],
])("%s gives another digest", (_, different) => {
  const digest = (all: readonly string[]) => canonicalDump(filled(schema, all), ["items"]).sha256;
  expect(digest(different)).not.toBe(digest(rows));
});

test("only the tables that were named count", () => {
  const db = filled(schema, rows);
  const before = canonicalDump(db, ["items"]).sha256;
  db.exec("CREATE TABLE others (id INTEGER); INSERT INTO others VALUES (1);");
  expect(canonicalDump(db, ["items"]).sha256).toBe(before);
  expect(canonicalDump(db, ["items", "others"]).sha256).not.toBe(before);
});
