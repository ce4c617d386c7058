import type { Database } from "../store/database.ts";
import { integerParameter } from "../store/parameters.ts";
import { MAX_TOKEN_LIFE_SECONDS } from "../token/claims.ts";

/**
 * The tables of session events. `session_heads` counts them by app; the events themselves are dropped when they say nothing
 * more.
 */
export const sessionEventsMigration = `
  CREATE TABLE session_heads (
    app_id   TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE session_events (
    app_id     TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    ended_at   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX session_events_by_age ON session_events (expires_at);
`;

/**
 * Orders the events of all apps, for the outbox. A number is never used twice, also if all events before it are dropped: an
 * outbox goes on behind the number that it came to.
 */
export const sessionOrderMigration = `
  ALTER TABLE session_events RENAME TO old_session_events;
  CREATE TABLE session_events (
    event_index INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    app_id      TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    session_id  TEXT NOT NULL,
    ended_at    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    UNIQUE (app_id, sequence)
  ) STRICT;
  INSERT INTO session_events (app_id, sequence, session_id, ended_at, expires_at)
    SELECT app_id, sequence, session_id, ended_at, expires_at FROM old_session_events ORDER BY ended_at, app_id, sequence;
  DROP TABLE old_session_events;
  CREATE INDEX session_events_by_age ON session_events (expires_at);
`;

/** The end of a session, before all its tokens had expired. */
export type SessionEvent = {
  /** Its place among the events of all apps. */
  readonly index: number;
  readonly appId: string;
  /** Its place among the events of its app. */
  readonly sequence: number;
  readonly sessionId: string;
  /** Unix seconds. */
  readonly endedAt: number;
  /** When the last of its tokens has expired, in Unix seconds. */
  readonly expiresAt: number;
};

/** What a token may be late by that was on its way to being signed when its session ended, in seconds. */
const MARGIN_SECONDS = 60;

/** For how long the end of a session says something, in seconds: until the last token of the session has expired. */
const SESSION_EVENT_LIFE_SECONDS = MAX_TOKEN_LIFE_SECONDS + MARGIN_SECONDS;

/**
 * The ends of sessions, numbered for each app from 1 without gaps. Methods that change the tables belong into the job of
 * the write queue that ends the session.
 */
export class SessionEvents {
  readonly #head;
  readonly #count;
  readonly #insert;
  readonly #after;
  readonly #afterIndex;
  readonly #forget;
  readonly #removeAll;

  constructor(db: Database) {
    this.#head = db.prepare<[string], number>("SELECT sequence FROM session_heads WHERE app_id = ?").pluck();
    this.#count = db
      .prepare<[string], number>(
        `INSERT INTO session_heads (app_id, sequence) VALUES (?, 1)
           ON CONFLICT DO UPDATE SET sequence = sequence + 1 RETURNING sequence`,
      )
      .pluck();
    this.#insert = db.prepare<[string, number, string, number, number]>(
      "INSERT INTO session_events (app_id, sequence, session_id, ended_at, expires_at) VALUES (?, ?, ?, ?, ?)",
    );
    const columns = `event_index AS "index", app_id AS appId, sequence, session_id AS sessionId, ended_at AS endedAt,
       expires_at AS expiresAt`;
    this.#after = db.prepare<[string, number, number, number], SessionEvent>(
      `SELECT ${columns} FROM session_events
         WHERE app_id = ? AND sequence > ? AND expires_at > ? ORDER BY sequence LIMIT ${integerParameter}`,
    );
    this.#afterIndex = db.prepare<[number, number, number], SessionEvent>(
      `SELECT ${columns} FROM session_events
         WHERE event_index > ? AND expires_at > ? ORDER BY event_index LIMIT ${integerParameter}`,
    );
    this.#forget = db.prepare<[number]>(
      `DELETE FROM session_events WHERE event_index IN
         (SELECT event_index FROM session_events WHERE expires_at <= ? LIMIT 100)`,
    );
    this.#removeAll = db.prepare<[string]>("DELETE FROM session_events WHERE app_id = ?");
  }

  /** The number of the app's last event; 0 if there never was one. */
  head(appId: string): number {
    return this.#head.get(appId) ?? 0;
  }

  /**
   * Notes that a session has ended.
   *
   * @param now Unix seconds
   */
  add(appId: string, sessionId: string, now: number): void {
    this.#forget.run(now);
    const sequence = this.#count.get(appId) ?? 0;
    this.#insert.run(appId, sequence, sessionId, now, now + SESSION_EVENT_LIFE_SECONDS);
  }

  /** The events after a sequence that still say something at `now`, in order, at most `limit`. */
  after(appId: string, sequence: number, now: number, limit: number): SessionEvent[] {
    return this.#after.all(appId, sequence, now, limit);
  }

  /** As {@link SessionEvents.after}, of all apps, after an index. */
  afterIndex(index: number, now: number, limit: number): SessionEvent[] {
    return this.#afterIndex.all(index, now, limit);
  }

  /** Drops the events of an app whose tenant has ended. The count stays: a number is never used twice. */
  removeAll(appId: string): void {
    this.#removeAll.run(appId);
  }
}
