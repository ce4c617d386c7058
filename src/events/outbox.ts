import type { Logger } from "pino";
import { type Clock, unixSeconds } from "../core/clock.ts";
import type { Log, StoredEvent } from "../log/log.ts";
import type { Database } from "../store/database.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import { keepConnected } from "./keep-connected.ts";
import type { Publisher, PublisherSession } from "./publisher.ts";
import type { Subscription } from "./watch-hub.ts";

/** The table of the outbox's cursors; a step of the registry's migrations. */
export const outboxMigration = `
  CREATE TABLE outbox (
    publisher     TEXT PRIMARY KEY,
    log_index     INTEGER NOT NULL,
    mark_index    INTEGER NOT NULL,
    mark_position INTEGER NOT NULL
  ) STRICT;
`;

/** How many events may be read and not confirmed: what the outbox holds in memory at the most. */
const WINDOW = 256;

/** The cursor is on disk at most this much later, in milliseconds. */
const SAVE_AFTER_MS = 1000;

/** The log is looked at this often even if nobody says that it grew, in milliseconds. */
const LOOK_EVERY_MS = 60_000;

/** What an outbox is made of. */
export interface OutboxOptions {
  db: Database;
  writes: WriteQueue;
  log: Log;
  publisher: Publisher;
  /** Wakes the outbox when the log has a new event of any app. */
  changes: Subscription;
  clock: Clock;
  logger: Logger;
}

/** Sends what the log gains. */
export interface Outbox {
  /** All events up to this log index are published. */
  readonly publishedIndex: number;
  /**
   * Ends, and saves how far it came. Nothing of the database is touched once this has returned; it resolves when the
   * publisher's connection is closed.
   */
  stop(): Promise<void>;
}

/**
 * How far events are published. `mark` is the event at the greatest position among all up to `logIndex`: a carrier that
 * still holds it has lost nothing of what came before.
 */
interface Cursor {
  logIndex: number;
  mark: { logIndex: number; position: number };
}

/**
 * Publishes the events of the log, now and as they are committed, until it is stopped. The log's tail behind a durable cursor
 * is all there is: a crash at any moment loses no event, and at worst sends again what was confirmed within the last second.
 *
 * Events of one app are sent one after the other, those of different apps side by side. Nothing here delays or fails a write:
 * while the carrier is away, the log simply grows.
 */
export function startOutbox(options: OutboxOptions): Outbox {
  const outbox = new RunningOutbox(options);
  outbox.start();
  return outbox;
}

class RunningOutbox implements Outbox {
  readonly #options: OutboxOptions;
  readonly #cursors: CursorStore;
  readonly #end = new AbortController();
  #cursor: Cursor;
  #cancelSave: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#cursors = new CursorStore(options.db, options.publisher.name);
    this.#cursor = this.#cursors.load() ?? cursorAt(this.#beforeRetention());
  }

  get publishedIndex(): number {
    return this.#cursor.logIndex;
  }

  start(): void {
    const { clock, logger } = this.#options;
    this.#running = keepConnected({
      what: "outbox",
      clock,
      logger,
      signal: this.#end.signal,
      session: (established) => this.#session(established),
    });
  }

  stop(): Promise<void> {
    if (!this.#end.signal.aborted) {
      this.#end.abort();
      this.#options.changes.close();
      this.#saveLast();
    }
    return this.#running;
  }

  async #session(established: () => void): Promise<void> {
    const { publisher, changes, log } = this.#options;
    const session = await publisher.connect(this.#end.signal);
    const over = new AbortController();
    const onEnd = () => over.abort();
    this.#end.signal.addEventListener("abort", onEnd, { once: true });
    void session.ended.then(onEnd);
    try {
      await this.#checkMark(session);
      if (this.#end.signal.aborted) return;
      established();
      const drain = new Drain(log, session, this.#cursor.logIndex, (event, position) =>
        this.#confirmed(event, position),
      );
      void drain.failed.catch(onEnd);
      while (!over.signal.aborted) {
        drain.fill();
        await changes.wait(LOOK_EVERY_MS, over.signal);
      }
      drain.stop();
      if (!this.#end.signal.aborted) await Promise.race([drain.failed, session.ended]);
    } finally {
      this.#end.signal.removeEventListener("abort", onEnd);
      await session.close();
    }
  }

  /** A carrier that lost what it had confirmed (wiped, restored from a backup) gets again what it would still keep. */
  async #checkMark(session: PublisherSession): Promise<void> {
    const { mark, logIndex } = this.#cursor;
    if (mark.logIndex === 0) return;
    const [event] = this.#options.log.eventsOfAll(mark.logIndex - 1, 1);
    if (event !== undefined && event.index === mark.logIndex && (await session.holds(mark.position, event))) return;
    if (this.#end.signal.aborted) return;
    this.#cursor = cursorAt(Math.min(logIndex, this.#beforeRetention()));
    this.#options.logger.warn(
      { publishedIndex: logIndex, restartIndex: this.#cursor.logIndex },
      "the carrier lost events; they are published again",
    );
    this.#saveSoon();
  }

  #confirmed(event: StoredEvent, position: number): void {
    if (this.#end.signal.aborted) return;
    const { mark } = this.#cursor;
    const isLater = position > mark.position;
    this.#cursor = { logIndex: event.index, mark: isLater ? { logIndex: event.index, position } : mark };
    this.#saveSoon();
  }

  #saveSoon(): void {
    if (this.#cancelSave !== undefined) return;
    const { clock, writes, logger } = this.#options;
    this.#cancelSave = clock.setTimer(SAVE_AFTER_MS, () => {
      this.#cancelSave = undefined;
      writes
        .run("save-outbox-cursor", () => this.#cursors.save(this.#cursor))
        .catch((err: unknown) => {
          if (this.#end.signal.aborted) return;
          logger.warn({ err }, "the outbox's cursor was not saved");
          this.#saveSoon();
        });
    });
  }

  #saveLast(): void {
    if (this.#cancelSave === undefined) return;
    this.#cancelSave();
    try {
      this.#cursors.save(this.#cursor);
    } catch (err) {
      // The events behind the saved cursor are sent again at the next start, which is allowed.
      this.#options.logger.warn({ err }, "the outbox's cursor was not saved");
    }
  }

  /** The index of the last log entry that is too old for the carrier to keep; 0 if there is none. */
  #beforeRetention(): number {
    const { log, publisher, clock } = this.#options;
    const oldest = unixSeconds(clock) - publisher.retentionSeconds;
    let low = 0;
    let high = log.head().index;
    // Time never goes back along the log.
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const [entry] = log.read(middle, 1);
      if (entry !== undefined && entry.time < oldest) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function cursorAt(logIndex: number): Cursor {
  return { logIndex, mark: { logIndex: 0, position: 0 } };
}

/** Where the cursor of one publisher is kept. */
class CursorStore {
  readonly #publisher: string;
  readonly #load;
  readonly #save;

  constructor(db: Database, publisher: string) {
    this.#publisher = publisher;
    this.#load = db.prepare<[string], { logIndex: number; markIndex: number; markPosition: number }>(
      `SELECT log_index AS logIndex, mark_index AS markIndex, mark_position AS markPosition
       FROM outbox WHERE publisher = ?`,
    );
    this.#save = db.prepare(
      `INSERT INTO outbox (publisher, log_index, mark_index, mark_position) VALUES (?, ?, ?, ?)
       ON CONFLICT (publisher) DO UPDATE
       SET log_index = excluded.log_index, mark_index = excluded.mark_index, mark_position = excluded.mark_position`,
    );
  }

  load(): Cursor | undefined {
    const row = this.#load.get(this.#publisher);
    if (row === undefined) return undefined;
    return { logIndex: row.logIndex, mark: { logIndex: row.markIndex, position: row.markPosition } };
  }

  save({ logIndex, mark }: Cursor): void {
    this.#save.run(this.#publisher, logIndex, mark.logIndex, mark.position);
  }
}

/** An event that was read and not yet passed by the cursor. */
interface Pending {
  event: StoredEvent;
  position: number | undefined;
}

/**
 * Publishes the events behind a log index over one session. It never goes on after a failure: what was sent and not
 * confirmed then is unknown, and the next session starts at the cursor again.
 */
class Drain {
  /** Rejects with the first failure; otherwise stays pending. */
  readonly failed: Promise<never>;
  readonly #log: Log;
  readonly #session: PublisherSession;
  readonly #confirmed: (event: StoredEvent, position: number) => void;
  readonly #window: Pending[] = [];
  readonly #byApp = new Map<string, Pending[]>();
  #readIndex: number;
  #stopped = false;
  #fail: (error: unknown) => void = () => {};

  /** @param confirmed - called in the order of the log, for events before which everything is confirmed */
  constructor(
    log: Log,
    session: PublisherSession,
    afterIndex: number,
    confirmed: (event: StoredEvent, position: number) => void,
  ) {
    this.#log = log;
    this.#session = session;
    this.#readIndex = afterIndex;
    this.#confirmed = confirmed;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
  }

  /** Reads on in the log while there is room. */
  fill(): void {
    // Only when half of the window is free: not one query for each confirmation.
    if (this.#stopped || this.#window.length > WINDOW / 2) return;
    for (const event of this.#log.eventsOfAll(this.#readIndex, WINDOW - this.#window.length)) {
      this.#readIndex = event.index;
      const pending: Pending = { event, position: undefined };
      this.#window.push(pending);
      const queue = this.#byApp.get(event.appId);
      if (queue !== undefined) queue.push(pending);
      else {
        this.#byApp.set(event.appId, [pending]);
        void this.#send(pending);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #send(pending: Pending): Promise<void> {
    try {
      const position = await this.#session.publish(pending.event);
      if (!this.#stopped) this.#sent(pending, position);
    } catch (error) {
      this.#stopped = true;
      this.#fail(error);
    }
  }

  #sent(pending: Pending, position: number): void {
    pending.position = position;
    const { appId } = pending.event;
    const queue = this.#byApp.get(appId) ?? [];
    queue.shift();
    const [next] = queue;
    if (next === undefined) this.#byApp.delete(appId);
    else void this.#send(next);
    for (let first = this.#window[0]; first?.position !== undefined; first = this.#window[0]) {
      this.#window.shift();
      this.#confirmed(first.event, first.position);
    }
    this.fill();
  }
}
