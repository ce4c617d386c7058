import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { LogEntryInputSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import { Log, logMigration, type NewEntry } from "../../src/log/log.ts";
import { openDatabase } from "../../src/store/database.ts";
import "../support/equal-bytes.ts";

const now = 1_790_000_000;

function newLog(): Log {
  const db = openDatabase(":memory:", [logMigration]);
  onTestFinished(() => void db.close());
  return new Log(db);
}

/** The entry of a statement; statements with the same number are the same. */
function entry(number: number, fields: Partial<NewEntry> = {}): NewEntry {
  return {
    time: now,
    statementId: new Uint8Array(32).fill(number),
    statement: Uint8Array.of(number),
    private: false,
    effectType: "test.v1.Happened",
    effect: Uint8Array.of(number, number),
    ...fields,
  };
}

function eventOf(appId: string, sequence: number): Pick<NewEntry, "event"> {
  return { event: { appId, sequence, statement: Uint8Array.of(sequence) } };
}

/** Appends entries to a new log. */
function logOf(...entries: readonly NewEntry[]): Log {
  const log = newLog();
  for (const entry of entries) log.append(log.head(), entry);
  return log;
}

test("an empty log has the head before the first entry", () => {
  const log = newLog();
  expect(log.head()).toEqual({ index: 0, time: 0, hash: new Uint8Array() });
  expect(log.read(1, 10)).toEqual([]);
  expect(log.find(new Uint8Array(32))).toBeUndefined();
});

test("entries are numbered from 1 and linked by hashes of all but their bodies", () => {
  const log = logOf(entry(1), entry(2, { time: now + 5, private: true }));
  let previousHash: Uint8Array = new Uint8Array();
  for (const [position, stored] of log.read(1, 10).entries()) {
    const { index, time, statementId, effectType, effect } = stored;
    expect(index).toBe(position + 1);
    expect(stored.previousHash).toEqual(previousHash);
    const input = create(LogEntryInputSchema, {
      index: BigInt(index),
      time: BigInt(time),
      statementId,
      effectType,
      effect,
      previousHash,
    });
    previousHash = createHash("sha256").update(toBinary(LogEntryInputSchema, input)).digest();
    expect(stored.hash).toEqual(previousHash);
  }
  expect(log.head()).toEqual({ index: 2, time: now + 5, hash: previousHash });
});

test("append returns the new head", () => {
  const log = newLog();
  expect(log.append(log.head(), entry(1))).toEqual(log.head());
});

test("an entry is found by its statement, with all that was given", () => {
  const log = logOf(entry(1), entry(2, { private: true }));
  expect(log.find(new Uint8Array(32).fill(2))).toMatchObject({ ...entry(2, { private: true }), index: 2 });
  expect(log.find(new Uint8Array(32).fill(1))).toMatchObject({ private: false, index: 1 });
  expect(log.find(new Uint8Array(32).fill(3))).toBeUndefined();
});

test("reading begins at an index and ends at a limit", () => {
  const log = logOf(entry(1), entry(2), entry(3), entry(4));
  expect(log.read(2, 2).map(({ index }) => index)).toEqual([2, 3]);
  expect(log.read(4, 2).map(({ index }) => index)).toEqual([4]);
  expect(log.read(5, 2)).toEqual([]);
});

test("events are those of one app by sequence, or of all by index", () => {
  const log = logOf(
    entry(1),
    entry(2, eventOf("one", 1)),
    entry(3, eventOf("two", 1)),
    entry(4),
    entry(5, eventOf("one", 2)),
    entry(6, eventOf("one", 3)),
  );
  const ofOne = (after: number, limit: number) => log.eventsOfApp("one", after, limit).map((event) => event.sequence);
  expect(ofOne(0, 10)).toEqual([1, 2, 3]);
  expect(ofOne(1, 1)).toEqual([2]);
  expect(ofOne(3, 10)).toEqual([]);
  expect(log.eventsOfApp("none", 0, 10)).toEqual([]);
  expect(log.eventsAfter(0, 10).map(({ index, appId }) => [index, appId])).toEqual([
    [2, "one"],
    [3, "two"],
    [5, "one"],
    [6, "one"],
  ]);
  expect(log.eventsAfter(3, 1).map(({ index }) => index)).toEqual([5]);
  expect(log.eventsAfter(0, 1)[0]?.statement).toEqual(Uint8Array.of(1));
});

test.each([
  ["on a head that has moved on", (log: Log) => log.append({ index: 0, time: 0, hash: new Uint8Array() }, entry(2))],
  ["on a head that is still to come", (log: Log) => log.append({ ...log.head(), index: 2 }, entry(2))],
  ["before the head's time", (log: Log) => log.append(log.head(), entry(2, { time: now - 1 }))],
  ["of a statement that is there", (log: Log) => log.append(log.head(), entry(1))],
  ["with an event that its app has", (log: Log) => log.append(log.head(), entry(2, eventOf("one", 1)))],
])("nothing is appended %s", (_, append) => {
  const log = logOf(entry(1, eventOf("one", 1)));
  const head = log.head();
  expect(() => append(log)).toThrow();
  expect(log.head()).toEqual(head);
});
