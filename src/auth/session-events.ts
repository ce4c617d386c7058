import type { Database } from "../store/database.ts";
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

/** The end of a session, before all its tokens had expired. */
export type SessionEvent = {
  readonly sequence: number;
  readonly sessionId: string;
  /** Unix seconds. */
  readonly endedAt: number;
  /** When the last of its tokens has expired, in Unix seconds. */
  readonly expiresAt: number;
};

/** What a token may be late by that was on its way to being signed when its session ended, in seconds. */
const MARGIN_SECONDS = 60;

/**
 * The ends of sessions, numbered for each app from 1 without gaps. Methods that change the tables belong into the job of
 * the write queue that ends the session.
 */
export class SessionEvents {
  readonly #head;
  readonly #count;
  readonly #insert;
  readonly #after;
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
    this.#after = db.prepare<[string, number, number, number], SessionEvent>(
      `SELECT sequence, session_id AS sessionId, ended_at AS endedAt, expires_at AS expiresAt FROM session_events
         WHERE app_id = ? AND sequence > ? AND expires_at > ? ORDER BY sequence LIMIT ?`,
    );
    this.#forget = db.prepare<[number]>(
      `DELETE FROM session_events WHERE (app_id, sequence) IN
         (SELECT app_id, sequence FROM session_events WHERE expires_at <= ? LIMIT 100)`,
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
    this.#insert.run(appId, sequence, sessionId, now, now + MAX_TOKEN_LIFE_SECONDS + MARGIN_SECONDS);
  }

  /** The events after a sequence that still say something at `now`, in order, at most `limit`. */
  after(appId: string, sequence: number, now: number, limit: number): SessionEvent[] {
    return this.#after.all(appId, sequence, now, limit);
  }

  /** Drops the events of an app whose tenant has ended. The count stays: a number is never used twice. */
  removeAll(appId: string): void {
    this.#removeAll.run(appId);
  }
}
