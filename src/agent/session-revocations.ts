import type { SessionRevoked } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { CommittedCache } from "../store/committed-cache.ts";
import type { Database } from "../store/database.ts";
import { type AccessTokenClaims, MAX_TOKEN_LIFE_SECONDS } from "../token/claims.ts";

/**
 * The tables of sessions that ended before their tokens expired.
 *
 * - `session_cursors`: of each app, the last session event that is in place and which Auth Provider numbered it; also, up to
 *   when all its users' tokens were refused because too many sessions had ended to keep them apart.
 * - `session_revocations`: the sessions, each until its last token has expired.
 */
export const sessionRevocationsMigration = `
  CREATE TABLE session_cursors (
    app_id         TEXT NOT NULL PRIMARY KEY,
    origin         TEXT NOT NULL,
    sequence       INTEGER NOT NULL,
    revoked_before INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE session_revocations (
    app_id     TEXT NOT NULL,
    session_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (app_id, session_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX session_revocations_by_age ON session_revocations (expires_at);
`;

/** The Auth Provider of an app: each numbers its events by itself. */
export type EventSource = { readonly appId: string; readonly origin: string };

/** The most ended sessions of an app that are kept apart. Beyond it, all the app's users have to refresh their tokens. */
const MAX_REVOCATIONS = 100_000;

/** How often the number of an app's revocations is counted: once for so many that were added. */
const COUNT_EVERY = 1000;

/** What an event may keep a session revoked for, in seconds: the life of a token, and clocks that differ. */
const MAX_LIFE_SECONDS = MAX_TOKEN_LIFE_SECONDS + 120;

/**
 * Which sessions have ended. Methods that change the tables belong into a job of the part's WriteQueue; an event and the
 * cursor are put on disk in one job, so that no crash loses an end or lets it count twice.
 */
export class SessionRevocations {
  readonly #maxRevocations: number;
  readonly #sequence;
  readonly #setCursor;
  readonly #insert;
  readonly #count;
  readonly #revokeAll;
  readonly #removeAll;
  readonly #forget;
  readonly #find;
  readonly #findBefore;
  readonly #ended: CommittedCache<boolean>;
  readonly #endedBefore: CommittedCache<number>;
  #added = 0;

  /** @param maxRevocations the bound; smaller in tests */
  constructor(db: Database, maxRevocations = MAX_REVOCATIONS) {
    this.#maxRevocations = maxRevocations;
    this.#ended = new CommittedCache(db);
    this.#endedBefore = new CommittedCache(db);
    this.#sequence = db
      .prepare<[string, string], number>("SELECT sequence FROM session_cursors WHERE app_id = ? AND origin = ?")
      .pluck();
    this.#setCursor = db.prepare<[string, string, bigint]>(
      `INSERT INTO session_cursors (app_id, origin, sequence) VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET origin = excluded.origin, sequence = excluded.sequence`,
    );
    this.#insert = db.prepare<[string, string, number]>(
      `INSERT INTO session_revocations (app_id, session_id, expires_at) VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)`,
    );
    this.#count = db.prepare<[string], number>("SELECT count(*) FROM session_revocations WHERE app_id = ?").pluck();
    this.#revokeAll = db.prepare<[number, string]>("UPDATE session_cursors SET revoked_before = ? WHERE app_id = ?");
    this.#removeAll = db.prepare<[string]>("DELETE FROM session_revocations WHERE app_id = ?");
    this.#forget = db.prepare<[number]>(
      `DELETE FROM session_revocations WHERE (app_id, session_id) IN
         (SELECT app_id, session_id FROM session_revocations WHERE expires_at <= ? LIMIT 100)`,
    );
    this.#find = db
      .prepare<[string, string], number>("SELECT 1 FROM session_revocations WHERE app_id = ? AND session_id = ?")
      .pluck();
    this.#findBefore = db
      .prepare<[string], number>("SELECT revoked_before FROM session_cursors WHERE app_id = ?")
      .pluck();
  }

  /** The sequence of the last event of an Auth Provider that is in place; 0 if there is none. */
  cursor({ appId, origin }: EventSource): bigint {
    return BigInt(this.#sequence.get(appId, origin) ?? 0);
  }

  /** Notes that the events up to a sequence are in place, or say nothing more. */
  advance({ appId, origin }: EventSource, sequence: bigint): void {
    this.#setCursor.run(appId, origin, sequence);
  }

  /**
   * Puts an event in place that was verified.
   *
   * @param now Unix seconds
   */
  apply({ appId, origin, sequence, sessionId, header }: SessionRevoked, now: number): void {
    const until = Math.min(Number(header?.expiresAt ?? 0n), now + MAX_LIFE_SECONDS);
    this.advance({ appId, origin }, sequence);
    this.#forget.run(now);
    if (until > now) this.#insert.run(appId, sessionId, until);
    this.#ended.forget(sessionKey(appId, sessionId));
    // Whoever sends so many ends would have others forgotten otherwise: so all tokens of the app up to now end, and new ones
    // tell the sessions apart again.
    if (++this.#added % Math.min(COUNT_EVERY, this.#maxRevocations) === 0 && this.#isFull(appId)) {
      this.#revokeAll.run(now, appId);
      this.#removeAll.run(appId);
      this.#ended.clear();
      this.#endedBefore.forget(appId);
    }
  }

  /** True if the session that a user's token belongs to has ended. */
  isRevoked({ app_id: appId, sid, iat }: AccessTokenClaims): boolean {
    if (this.#endedBefore.get(appId, () => this.#findBefore.get(appId) ?? 0) >= iat) return true;
    if (sid === undefined) return false;
    return this.#ended.get(sessionKey(appId, sid), () => this.#find.get(appId, sid) !== undefined);
  }

  #isFull(appId: string): boolean {
    return (this.#count.get(appId) ?? 0) >= this.#maxRevocations;
  }
}

/** Equal for equal sessions and for no others: an AppID holds no slash. */
function sessionKey(appId: string, sessionId: string): string {
  return `${appId}/${sessionId}`;
}
