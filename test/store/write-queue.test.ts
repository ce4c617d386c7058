import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { isRefusal, Reason } from "../../src/core/refusal.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { WriteQueue, type WriteQueueOptions } from "../../src/store/write-queue.ts";
import { temporaryFolder } from "../support/files.ts";

/** A queue on a table of words, and what is on disk as another process would see it. */
function started(options: WriteQueueOptions = {}) {
  const path = join(temporaryFolder(), "words.db");
  const db = openDatabase(path, ["CREATE TABLE words (word TEXT PRIMARY KEY) STRICT;"]);
  const reader = openDatabase(path, ["CREATE TABLE words (word TEXT PRIMARY KEY) STRICT;"]);
  onTestFinished(() => {
    reader.close();
    db.close();
  });
  const queue = new WriteQueue(db, { now: () => 0, ...options });
  const insert = db.prepare<[string]>("INSERT INTO words VALUES (?)");
  const add = (word: string, name = "add") =>
    queue.run(name, () => {
      insert.run(word);
      return word;
    });
  return { db, queue, add, words: () => wordsIn(reader) };
}

function wordsIn(db: Database): string[] {
  return db.prepare<[], string>("SELECT word FROM words ORDER BY word").pluck().all();
}

/** What became of some promises: the value, or the error's message. */
async function outcomes(promises: readonly Promise<string>[]): Promise<string[]> {
  const settled = await Promise.allSettled(promises);
  return settled.map((one) => (one.status === "fulfilled" ? one.value : `failed: ${one.reason.message}`));
}

describe("group commit", () => {
  test("jobs that wait together share a commit, and are answered after it", async () => {
    const commits: string[][] = [];
    let onDiskBefore: string[] = [];
    const { add, words } = started({
      failpoint(name) {
        if (name.endsWith(".before-commit")) {
          onDiskBefore = words();
          commits.push([name]);
        } else commits.at(-1)?.push(name);
      },
    });
    const answered = add("a", "one").then(() => words());
    await Promise.all([answered, add("b", "two")]);
    expect(commits.flat()).toEqual(["one.before-commit", "two.before-commit", "one.after-commit", "two.after-commit"]);
    expect(onDiskBefore).toEqual([]);
    expect(await answered).toEqual(["a", "b"]);
  });

  test("a job sees what the jobs before it did", async () => {
    const { add, queue, db } = started();
    const [, seen] = await Promise.all([add("a"), queue.run("read", () => wordsIn(db))]);
    expect(seen).toEqual(["a"]);
  });

  test("a job that fails leaves nothing behind, and its neighbours alone", async () => {
    const { add, queue, words, db } = started();
    const half = queue.run("half", () => {
      db.exec("INSERT INTO words VALUES ('half')");
      throw new Error("changed its mind");
    });
    expect(await outcomes([add("a"), half, add("b")])).toEqual(["a", "failed: changed its mind", "b"]);
    expect(words()).toEqual(["a", "b"]);
  });

  test("a job whose SQL fails is no different", async () => {
    const { add, words } = started();
    const [first, second, third] = await outcomes([add("a"), add("a"), add("b")]);
    expect([first, third]).toEqual(["a", "b"]);
    expect(second).toMatch(/^failed: UNIQUE/);
    expect(words()).toEqual(["a", "b"]);
  });

  test("more jobs than a batch holds take more commits", async () => {
    let commits = 0;
    const { add, words } = started({
      batchSize: 2,
      failpoint(name) {
        if (name === "last.after-commit") commits++;
      },
    });
    const jobs = ["a", "b", "c", "d", "e"].map((word, index) => add(word, index % 2 === 1 ? "last" : "add"));
    await Promise.all(jobs);
    expect(commits).toBe(2);
    expect(words()).toEqual(["a", "b", "c", "d", "e"]);
  });
});

test("a batch that has taken its time is committed, and the others wait for the next one", async () => {
  let milliseconds = 0;
  const commits: string[] = [];
  const { queue } = started({
    batchMilliseconds: 10,
    now: () => milliseconds,
    failpoint: (name) => void commits.push(name),
  });
  const job = (name: string) =>
    queue.run(name, () => {
      milliseconds += 6;
    });
  await Promise.all(["a", "b", "c"].map(job));
  expect(commits).toEqual([
    ...["a.before-commit", "b.before-commit", "a.after-commit", "b.after-commit"],
    ...["c.before-commit", "c.after-commit"],
  ]);
});

describe.each(["a batch of one", "a batch of three"])("a crash around the commit of %s", (size) => {
  const words = size === "a batch of one" ? ["b"] : ["a", "b", "c"];

  test("before it: nothing is kept, and all callers are told", async () => {
    let crashing = true;
    const { add, words: onDisk } = started({
      failpoint(name) {
        if (crashing && name === "b.before-commit") throw new Error("crash");
      },
    });
    expect(await outcomes(words.map((word) => add(word, word)))).toEqual(words.map(() => "failed: crash"));
    expect(onDisk()).toEqual([]);
    crashing = false;
    expect(await outcomes(words.map((word) => add(word, word)))).toEqual(words);
    expect(onDisk()).toEqual(words);
  });

  test("after it: everything is kept, though a caller is told nothing", async () => {
    const { add, words: onDisk } = started({
      failpoint(name) {
        if (name === "b.after-commit") throw new Error("crash");
      },
    });
    const told = words.map((word) => (word === "b" ? "failed: crash" : word));
    expect(await outcomes(words.map((word) => add(word, word)))).toEqual(told);
    expect(onDisk()).toEqual(words);
  });
});

test("a commit that fails keeps nothing, and the next one goes through", async () => {
  const { add, db, words } = started();
  // A foreign key that is checked no earlier than at the commit fails the whole of it.
  db.exec(`
    CREATE TABLE parents (id INTEGER PRIMARY KEY);
    CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
    CREATE TRIGGER orphans AFTER INSERT ON words WHEN new.word = 'b' BEGIN INSERT INTO children VALUES (7); END;
  `);
  const failed = "failed: FOREIGN KEY constraint failed";
  expect(await outcomes([add("a"), add("b")])).toEqual([failed, failed]);
  expect(words()).toEqual([]);
  expect(db.inTransaction).toBe(false);
  expect(await add("c")).toBe("c");
  expect(words()).toEqual(["c"]);
});

test("a file that another process holds fails the batch, and keeps nothing", async () => {
  const { add, db, words } = started();
  const other = openDatabase(db.name, ["CREATE TABLE words (word TEXT PRIMARY KEY) STRICT;"]);
  onTestFinished(() => void other.close());
  db.pragma("busy_timeout = 1");
  other.exec("BEGIN IMMEDIATE");
  expect(await outcomes([add("a"), add("b")])).toEqual(["failed: database is locked", "failed: database is locked"]);
  other.exec("ROLLBACK");
  expect(await add("c")).toBe("c");
  expect(words()).toEqual(["c"]);
});

test("more than may wait is refused with OVERLOADED, and the rest is done", async () => {
  const { add, words } = started({ capacity: 2 });
  const jobs = [add("a"), add("b"), add("c")];
  const settled = await Promise.allSettled(jobs);
  expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
  expect(isRefusal((settled[2] as PromiseRejectedResult).reason, Reason.OVERLOADED)).toBe(true);
  expect(words()).toEqual(["a", "b"]);
  expect(await add("d")).toBe("d");
});

test("closing commits what waits and takes no more", async () => {
  const { add, queue, words } = started({ batchSize: 1 });
  const jobs = [add("a"), add("b")];
  queue.close();
  expect(words()).toEqual(["a", "b"]);
  expect(await outcomes(jobs)).toEqual(["a", "b"]);
  const late = await add("c").catch((error: unknown) => error);
  expect(isRefusal(late, Reason.SHUTTING_DOWN)).toBe(true);
  expect(words()).toEqual(["a", "b"]);
});

describe("a job that is read again from elsewhere", () => {
  const SYNCED = 2;
  /** Adds a word; returns whether the commit was to be synced. */
  const adding = ({ db, queue }: ReturnType<typeof started>, word: string, readAgain: boolean) =>
    queue.run(
      "add",
      () => {
        db.prepare("INSERT INTO words VALUES (?)").run(word);
        return db.pragma("synchronous", { simple: true }) === SYNCED;
      },
      { readAgain },
    );

  test("is committed without a sync, and the next one with", async () => {
    const queue = started();
    expect(await adding(queue, "a", true)).toBe(false);
    expect(queue.words()).toEqual(["a"]);
    expect(await adding(queue, "b", false)).toBe(true);
    expect(await adding(queue, "c", true)).toBe(false);
    expect(queue.db.pragma("synchronous", { simple: true })).toBe(SYNCED);
  });

  test("is synced with another one that shares its commit", async () => {
    const queue = started();
    expect(await Promise.all([adding(queue, "a", true), adding(queue, "b", false)])).toEqual([true, true]);
  });

  test("fails as others do, and leaves nothing behind, nor the mode", async () => {
    const queue = started({
      failpoint(name) {
        if (name === "add.before-commit") throw new Error("cut off");
      },
    });
    await expect(adding(queue, "a", true)).rejects.toThrow("cut off");
    expect(queue.words()).toEqual([]);
    expect(queue.db.inTransaction).toBe(false);
    expect(queue.db.pragma("synchronous", { simple: true })).toBe(SYNCED);
  });
});
