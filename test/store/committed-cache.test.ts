import { expect, onTestFinished, test } from "vitest";
import { CommittedCache } from "../../src/store/committed-cache.ts";
import { openDatabase } from "../../src/store/database.ts";

/** A number in a table, and what is known of it. */
function started(capacity?: number) {
  const db = openDatabase(":memory:", ["CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER) STRICT;"]);
  onTestFinished(() => void db.close());
  const cache = new CommittedCache<number | undefined>(db, capacity);
  const select = db.prepare<[string], number>("SELECT value FROM numbers WHERE name = ?").pluck();
  const insert = db.prepare<[string, number]>("INSERT OR REPLACE INTO numbers VALUES (?, ?)");
  let reads = 0;
  return {
    db,
    cache,
    reads: () => reads,
    get: (name: string) =>
      cache.get(name, () => {
        reads++;
        return select.get(name);
      }),
    set(name: string, value: number) {
      insert.run(name, value);
      cache.forget(name);
    },
  };
}

test("what was read is read once, be it nothing, until it changes", () => {
  const { get, set, reads } = started();
  expect([get("a"), get("a"), reads()]).toEqual([undefined, undefined, 1]);
  set("a", 1);
  expect([get("a"), get("a"), reads()]).toEqual([1, 1, 2]);
});

test("a transaction sees its own changes, and one that is rolled back leaves nothing", () => {
  const { db, get, set } = started();
  set("a", 1);
  expect(get("a")).toBe(1);
  const change = db.transaction(() => {
    set("a", 2);
    expect(get("a")).toBe(2);
    throw new Error("changed its mind");
  });
  expect(change).toThrow("changed its mind");
  expect(get("a")).toBe(1);
});

test("what a transaction changed is seen after its commit", () => {
  const { db, get, set } = started();
  set("a", 1);
  expect(get("a")).toBe(1);
  db.transaction(() => set("a", 2))();
  expect(get("a")).toBe(2);
});

test("changes are counted, whatever became of them, and reads are not", () => {
  const { db, cache, get, set } = started(1);
  const changes = [cache.changes];
  for (const name of ["a", "b", "a"]) get(name);
  changes.push(cache.changes);
  db.transaction(() => set("a", 2))();
  changes.push(cache.changes);
  cache.clear();
  changes.push(cache.changes);
  expect(changes).toEqual([0, 0, 1, 2]);
});

test("no more is kept than there is room for, and nothing that was cleared", () => {
  const { cache, get, reads } = started(2);
  for (const name of ["a", "b", "c"]) get(name);
  expect([get("c"), reads()]).toEqual([undefined, 3]);
  expect([get("a"), reads()]).toEqual([undefined, 4]);
  cache.clear();
  expect([get("a"), reads()]).toEqual([undefined, 5]);
});
