import { join } from "node:path";
import { expect, test } from "vitest";
import { openDatabase } from "../../src/store/database.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { temporaryFolder } from "../support/files.ts";
import { Chance } from "./support/chance.ts";
import { settings } from "./support/settings.ts";

const PAGE_BYTES = 4096;
const ROUNDS = 50;
const JOBS = 20;

/** A queue on a file of its own that may not grow beyond some pages. */
function openLimited() {
  const db = openDatabase(join(temporaryFolder(), "full.db"), [
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
  ]);
  const insert = db.prepare<[number, Uint8Array]>("INSERT INTO notes VALUES (?, ?)");
  const limitPages = (count: number) => db.pragma(`max_page_count = ${count}`);
  return {
    db,
    queue: new WriteQueue(db),
    insert,
    ids: () => db.prepare<[], number>("SELECT id FROM notes ORDER BY id").pluck().all(),
    /** Lets the file grow by so many pages. */
    leave: (pages: number) => limitPages(Number(db.pragma("page_count", { simple: true })) + pages),
    unlimit: () => limitPages(2 ** 30),
  };
}

test("when the file is full, what was confirmed is there and what was refused is not", async () => {
  const { db, queue, insert, ids, leave, unlimit } = openLimited();
  const chance = new Chance(settings.seed);
  const confirmed: number[] = [];
  let refused = 0;
  for (let round = 0; round < ROUNDS; round++) {
    // A batch needs about one and a half pages for each job.
    leave(chance.below(3 * JOBS));
    const jobs = Array.from({ length: JOBS }, (_, index) => {
      const id = round * JOBS + index;
      const body = new Uint8Array(chance.below(3 * PAGE_BYTES));
      return queue
        .run("note", () => insert.run(id, body))
        .then(
          () => confirmed.push(id),
          () => refused++,
        );
    });
    await Promise.all(jobs);
    expect(ids(), `round ${round}, seed ${settings.seed}`).toEqual(confirmed.toSorted((a, b) => a - b));
  }
  expect(Math.min(refused, confirmed.length)).toBeGreaterThan(0);
  unlimit();
  await queue.run("note", () => insert.run(ROUNDS * JOBS, new Uint8Array(PAGE_BYTES)));
  expect(ids()).toHaveLength(confirmed.length + 1);
  expect(db.pragma("integrity_check", { simple: true })).toBe("ok");
  queue.close();
  db.close();
});
