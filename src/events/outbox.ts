import type { Logger } from "pino";
import { type Clock, unixSeconds } from "../core/clock.ts";
import type { Database } from "../store/database.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import { keepConnected } from "./keep-connected.ts";
import type { OutboxEvent, Publisher, PublisherSession } from "./publisher.ts";
import type { Subscription } from "./watch-hub.ts";

/** The table of the outbox's cursors; a step of the migrations of a part that publishes. */
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

/** The source is looked at this often even if nobody says that it grew, in milliseconds. */
const LOOK_EVERY_MS = 60_000;

/** What an outbox sends: events that were committed, in the order of their commits. */
export interface OutboxSource {
  /** Up to `limit` events behind an index. What says nothing any more may be left out. */
  eventsAfter(index: number, limit: number): OutboxEvent[];
  /** The index of the last entry that was made before a time, in Unix seconds; 0 if there is none. */
  lastBefore(time: number): number;
}

/** What an outbox is made of. */
export interface OutboxOptions {
  db: Database;
  writes: WriteQueue;
  source: OutboxSource;
  publisher: Publisher;
  /** Wakes the outbox when the source has a new event of any app. */
  changes: Subscription;
  clock: Clock;
  logger: Logger;
}

/** Sends what its source gains. */
export interface Outbox {
  /** All events up to this index are published. */
  readonly publishedIndex: number;
  /**
   * Ends, and saves how far it came. Nothing of the database is touched once this has returned; it resolves when the
   * publisher's connection is closed.
   */
  stop(): Promise<void>;
}

/**
 * How far events are published. `mark` is the event at the greatest position among all up to `index`: a carrier that
 * still holds it has lost nothing of what came before.
 */
interface Cursor {
  index: number;
  mark: { index: number; position: number };
}

/**
 * Publishes the events of a source, now and as they are committed, until it is stopped. Its tail behind a durable cursor is
 * all there is: a crash at any moment loses no event, and at worst sends again what was confirmed within the last second.
 *
 * Events of one app are sent one after the other, those of different apps side by side. Nothing here delays or fails a write:
 * while the carrier is away, the tail simply grows.
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
    return this.#cursor.index;
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
    const { publisher, changes, source } = this.#options;
    const session = await publisher.connect(this.#end.signal);
    const over = new AbortController();
    const onEnd = () => over.abort();
    this.#end.signal.addEventListener("abort", onEnd, { once: true });
    void session.ended.then(onEnd);
    try {
      await this.#checkMark(session);
      if (this.#end.signal.aborted) return;
      established();
      const drain = new Drain(source, session, this.#cursor.index, (event, position) =>
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
    const { mark, index } = this.#cursor;
    if (mark.index === 0) return;
    const { source, logger } = this.#options;
    const [event] = source.eventsAfter(mark.index - 1, 1);
    const isKnown = event?.index === mark.index;
    if (isKnown && (await session.holds(mark.position, event))) return;
    if (this.#end.signal.aborted) return;
    this.#cursor = cursorAt(Math.min(index, this.#beforeRetention()));
    const places = { publishedIndex: index, restartIndex: this.#cursor.index };
    if (isKnown) logger.warn(places, "the carrier lost events; they are published again");
    else
      logger.info(
        places,
        "whether the carrier lost events can't be told any more; those that count are published again",
      );
    this.#saveSoon();
  }

  #confirmed(event: OutboxEvent, position: number): void {
    if (this.#end.signal.aborted) return;
    const { mark } = this.#cursor;
    const isLater = position > mark.position;
    this.#cursor = { index: event.index, mark: isLater ? { index: event.index, position } : mark };
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

  /** The index of the last entry that is too old for the carrier to keep; 0 if there is none. */
  #beforeRetention(): number {
    const { source, publisher, clock } = this.#options;
    return source.lastBefore(unixSeconds(clock) - publisher.retentionSeconds);
  }
}

function cursorAt(index: number): Cursor {
  return { index, mark: { index: 0, position: 0 } };
}

/** Where the cursor of one publisher is kept. */
class CursorStore {
  readonly #publisher: string;
  readonly #load;
  readonly #save;

  constructor(db: Database, publisher: string) {
    this.#publisher = publisher;
    this.#load = db.prepare<[string], { index: number; markIndex: number; markPosition: number }>(
      `SELECT log_index AS "index", mark_index AS markIndex, mark_position AS markPosition
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
    return { index: row.index, mark: { index: row.markIndex, position: row.markPosition } };
  }

  save({ index, mark }: Cursor): void {
    this.#save.run(this.#publisher, index, mark.index, mark.position);
  }
}

/** An event that was read and not yet passed by the cursor. */
interface Pending {
  event: OutboxEvent;
  position: number | undefined;
}

/**
 * Publishes the events behind an index over one session. It never goes on after a failure: what was sent and not
 * confirmed then is unknown, and the next session starts at the cursor again.
 */
class Drain {
  /** Rejects with the first failure; otherwise stays pending. */
  readonly failed: Promise<never>;
  readonly #source: OutboxSource;
  readonly #session: PublisherSession;
  readonly #confirmed: (event: OutboxEvent, position: number) => void;
  readonly #window: Pending[] = [];
  readonly #byApp = new Map<string, Pending[]>();
  #readIndex: number;
  #stopped = false;
  #fail: (error: unknown) => void = () => {};

  /** @param confirmed - called in the order of the commits, for events before which everything is confirmed */
  constructor(
    source: OutboxSource,
    session: PublisherSession,
    afterIndex: number,
    confirmed: (event: OutboxEvent, position: number) => void,
  ) {
    this.#source = source;
    this.#session = session;
    this.#readIndex = afterIndex;
    this.#confirmed = confirmed;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
  }

  /** Reads on while there is room. */
  fill(): void {
    // Only when half of the window is free: not one query for each confirmation.
    if (this.#stopped || this.#window.length > WINDOW / 2) return;
    for (const event of this.#source.eventsAfter(this.#readIndex, WINDOW - this.#window.length)) {
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
