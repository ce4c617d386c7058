import { Reason, Refusal } from "../core/refusal.ts";
import type { Database } from "./database.ts";

/** What a {@link WriteQueue} can be made to do differently; for tests and tuning. */
export interface WriteQueueOptions {
  /** The most writes that one commit covers. */
  batchSize?: number;
  /**
   * For how long a batch may take further writes, in milliseconds: nothing else runs meanwhile, so this is what a read may
   * have to wait when many write.
   */
  batchMilliseconds?: number;
  /** The time in milliseconds, from any start. */
  now?: () => number;
  /** The most writes that may wait; one more is refused with OVERLOADED. */
  capacity?: number;
  /**
   * Called with `<name>.before-commit` and `<name>.after-commit` around each commit. What it throws is what a crash there
   * would leave behind: before, nothing of the batch; after, all of it, with the callers never told.
   */
  failpoint?: (name: string) => void;
}

/** What is particular to a write. */
export interface WriteOptions {
  /**
   * True for what this party reads again from elsewhere if it is missing, and believes nothing until it has: it is kept
   * whatever happens to the process, but may be taken back by a loss of power until a later write is synced. Whatever is
   * told to others because of it must be behind such a write.
   */
  readonly readAgain?: boolean;
}

interface Job {
  name: string;
  readAgain: boolean;
  work: () => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
}

type Outcome = { job: Job; value: unknown } | { job: Job; error: unknown };

/**
 * The one way in which a part writes: jobs run one after the other, each in a savepoint of its own, and those that wait
 * together share one transaction and so one sync to disk (group commit). A job that throws leaves nothing behind and
 * doesn't touch its neighbours. A caller is answered only after the commit that covers it.
 *
 * Jobs are synchronous, so what a job reads is still true when it writes.
 */
export class WriteQueue {
  readonly #db: Database;
  readonly #begin;
  readonly #commit;
  readonly #savepoint;
  readonly #release;
  readonly #batchSize: number;
  readonly #batchMilliseconds: number;
  readonly #now: () => number;
  readonly #capacity: number;
  readonly #failpoint: (name: string) => void;
  readonly #waiting: Job[] = [];
  #scheduled = false;
  #closed = false;

  constructor(db: Database, options: WriteQueueOptions = {}) {
    this.#db = db;
    this.#begin = db.prepare<[]>("BEGIN IMMEDIATE");
    this.#commit = db.prepare<[]>("COMMIT");
    this.#savepoint = db.prepare<[]>("SAVEPOINT job");
    this.#release = db.prepare<[]>("RELEASE job");
    this.#batchSize = options.batchSize ?? 256;
    this.#batchMilliseconds = options.batchMilliseconds ?? 4;
    this.#now = options.now ?? (() => performance.now());
    this.#capacity = options.capacity ?? 10_000;
    this.#failpoint = options.failpoint ?? (() => {});
  }

  /**
   * Runs `work` in the next transaction.
   *
   * @param name names the job at failpoints
   * @returns what `work` returned, once it is on disk; see {@link WriteOptions.readAgain} for what that means there
   * @throws what `work` threw, and then nothing of it is on disk; OVERLOADED or SHUTTING_DOWN if it was never run
   */
  run<T>(name: string, work: () => T, { readAgain = false }: WriteOptions = {}): Promise<T> {
    if (this.#closed) return Promise.reject(new Refusal(Reason.SHUTTING_DOWN, "the store is closing"));
    if (this.#waiting.length >= this.#capacity) {
      return Promise.reject(new Refusal(Reason.OVERLOADED, "too many writes are waiting"));
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ name, readAgain, work, resolve: resolve as (value: unknown) => void, reject });
      this.#schedule();
    });
  }

  /** Commits what waits, and takes no more. */
  close(): void {
    this.#closed = true;
    while (this.#waiting.length > 0) this.#commitBatch();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // After the current I/O events, so that requests that arrived together share the commit.
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#waiting.length > 0) this.#commitBatch();
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #commitBatch(): void {
    const batch: Job[] = [];
    // Those that a job of the batch adds wait for the next one: whether to sync is decided for these.
    const next = this.#waiting.slice(0, this.#batchSize);
    const mayWait = next.every(({ readAgain }) => readAgain);
    let outcomes: Outcome[];
    try {
      outcomes = mayWait
        ? this.#withoutSync(() => this.#transact(batch, next.length))
        : this.#transact(batch, next.length);
    } catch (error) {
      // The disk is full, the file is locked, or a test says so: nothing of the batch was kept, and every caller is told.
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      // It did not even begin: those who wait would meet the same.
      if (batch.length === 0) batch.push(...this.#waiting.splice(0, this.#batchSize));
      for (const job of batch) job.reject(error);
      return;
    }
    for (const outcome of outcomes) {
      try {
        this.#failpoint(`${outcome.job.name}.after-commit`);
      } catch (error) {
        outcome.job.reject(error);
        continue;
      }
      if ("error" in outcome) outcome.job.reject(outcome.error);
      else outcome.job.resolve(outcome.value);
    }
  }

  /** Moves the next jobs that wait into `batch`, at most `count` and while there is time; runs and commits them. */
  #transact(batch: Job[], count: number): Outcome[] {
    const outcomes: Outcome[] = [];
    const end = this.#now() + this.#batchMilliseconds;
    this.#begin.run();
    do {
      const job = this.#waiting.shift();
      if (job === undefined) break;
      batch.push(job);
      outcomes.push(this.#runInSavepoint(job));
    } while (batch.length < count && this.#now() < end);
    for (const job of batch) this.#failpoint(`${job.name}.before-commit`);
    this.#commit.run();
    return outcomes;
  }

  /**
   * The write-ahead log is synced from its beginning, so the next commit with a sync keeps these as well; after a loss of power
   * before that, the file is as it was some commits ago, and never anything in between.
   */
  #withoutSync<T>(transact: () => T): T {
    this.#db.exec("PRAGMA synchronous = NORMAL");
    try {
      return transact();
    } finally {
      // The pragma has no effect inside of a transaction.
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK");
      this.#db.exec("PRAGMA synchronous = FULL");
    }
  }

  #runInSavepoint(job: Job): Outcome {
    this.#savepoint.run();
    try {
      const value = job.work();
      this.#release.run();
      return { job, value };
    } catch (error) {
      // SQLite has rolled back the whole transaction on its own (out of memory, disk full): there is no savepoint left,
      // and the batch fails as one.
      if (!this.#db.inTransaction) throw error;
      this.#db.exec("ROLLBACK TO job; RELEASE job");
      return { job, error };
    }
  }
}
