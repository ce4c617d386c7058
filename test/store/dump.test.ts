import { expect, onTestFinished, test } from "vitest";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { canonicalDigest, canonicalLines } from "../../src/store/dump.ts";

function filled(schema: string, rows: readonly string[]): Database {
  const db = openDatabase(":memory:", [schema]);
  onTestFinished(() => void db.close());
  for (const row of rows) db.exec(`INSERT INTO items (name, size, body) VALUES ${row}`);
  return db;
}

const schema = "CREATE TABLE items (name TEXT, size INTEGER, body BLOB) STRICT;";
const rows = ["('a', 1, x'00ff')", "('b', NULL, x'')", "('a', 1, x'00ff')"];

test("one line a row, sorted, blobs in hexadecimal", () => {
  expect([...canonicalLines(filled(schema, rows), ["items"])]).toEqual([
    `["items",{"body":"x''","name":"b","size":null}]`,
    `["items",{"body":"x'00ff'","name":"a","size":1}]`,
    `["items",{"body":"x'00ff'","name":"a","size":1}]`,
  ]);
});

test("neither the order of rows nor that of columns matters", () => {
  const other = "CREATE TABLE items (body BLOB, name TEXT, size INTEGER) STRICT;";
  const one = canonicalDigest(filled(schema, rows), ["items"]);
  expect(canonicalDigest(filled(other, [...rows].reverse()), ["items"])).toBe(one);
});

test.each([
  ["a row more", [...rows, "('c', 1, x'00')"]],
  ["a row that is there once less", rows.slice(0, 2)],
  ["a text for a blob", ["('a', 1, x'00ff')", "('b', NULL, NULL)", "('a', 1, x'00ff')"]],
  ["an empty text for none", ["('a', 1, x'00ff')", "('', NULL, x'')", "('a', 1, x'00ff')"]],
])("%s gives another digest", (_, different) => {
  const digest = (all: readonly string[]) => canonicalDigest(filled(schema, all), ["items"]);
  expect(digest(different)).not.toBe(digest(rows));
});

test("rows come in the order of their key, which nothing has to be sorted for", () => {
  const keyed =
    "CREATE TABLE items (size INTEGER, name TEXT, body BLOB, PRIMARY KEY (name, size)) STRICT, WITHOUT ROWID;";
  const [one, other] = [
    ["('b', 1, x'')", "('a', 2, x'02')", "('a', 1, x'03')"],
    ["('a', 1, x'03')", "('a', 2, x'02')", "('b', 1, x'')"],
  ];
  const lines = [...canonicalLines(filled(keyed, one), ["items"])];
  expect(lines.map((line) => JSON.parse(line)[1].body)).toEqual(["x'03'", "x'02'", "x''"]);
  expect([...canonicalLines(filled(keyed, other), ["items"])]).toEqual(lines);
});

test("only the tables that were named count", () => {
  const db = filled(schema, rows);
  const before = canonicalDigest(db, ["items"]);
  db.exec("CREATE TABLE others (id INTEGER); INSERT INTO others VALUES (1);");
  expect(canonicalDigest(db, ["items"])).toBe(before);
  expect(canonicalDigest(db, ["items", "others"])).not.toBe(before);
});
