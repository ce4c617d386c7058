import type { Logger } from "pino";
import { type Clock, unixSeconds } from "../core/clock.ts";
import type { Database } from "../store/database.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import { keepConnected } from "./keep-connected.ts";
import { cursorAt, type OutboxCursor, OutboxCursors } from "./outbox-cursors.ts";
import { OutboxDrain } from "./outbox-drain.ts";
import type { OutboxSource } from "./outbox-source.ts";
import type { OutboxEvent, Publisher, PublisherSession } from "./publisher.ts";
import type { Subscription } from "./watch-hub.ts";

/** The cursor is on disk at most this much later, in milliseconds. */
const SAVE_AFTER_MS = 1000;

/** The source is looked at this often even if nobody says that it grew, in milliseconds. */
const LOOK_EVERY_MS = 60_000;

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
  readonly #cursors: OutboxCursors;
  readonly #end = new AbortController();
  #cursor: OutboxCursor;
  #cancelSave: (() => void) | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#cursors = new OutboxCursors(options.db, options.publisher.name);
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
      const drain = new OutboxDrain(source, session, this.#cursor.index, (event, position) =>
        this.#confirmed(event, position),
      );
      void drain.failed.catch(onEnd);
      try {
        while (!over.signal.aborted) {
          drain.fill();
          await changes.wait(LOOK_EVERY_MS, over.signal);
        }
      } finally {
        drain.stop();
      }
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
