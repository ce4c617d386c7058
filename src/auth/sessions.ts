import { timingSafeEqual } from "node:crypto";
import { concatBytes, fromBase64Url, toBase64Url } from "../core/bytes.ts";
import type { Random } from "../core/random.ts";
import { sha256 } from "../statement/crypto.ts";
import type { Database } from "../store/database.ts";

/** How long a refresh token is good if it isn't used, in seconds: 30 days. */
const REFRESH_TOKEN_LIFE_SECONDS = 30 * 86_400;

/** The most sessions that a user has; one more ends the oldest. */
const MAX_SESSIONS = 100;

const FAMILY_LENGTH = 16;
const SECRET_LENGTH = 32;

/** A session that goes on, and the token that continues it. */
export type Session = {
  /** Stands in the `sid` of the session's access tokens. */
  readonly sessionId: string;
  readonly userId: string;
};

/** The next refresh token of a session. It is a secret. */
export type IssuedRefreshToken = {
  readonly refreshToken: string;
  /** Unix seconds, exclusive. */
  readonly expiresAt: number;
};

/** What a presented refresh token is: good for the next step, used before (so it must have been stolen), or nothing. */
export type Presented = ({ readonly kind: "current" } & Session) | { readonly kind: "used" | "unknown" };

type Row = { session_id: string; user_id: string; token: Buffer; expires_at: number };

/**
 * Sessions and their refresh tokens (RFC 9700 section 4.14.2: rotation, and reuse ends the session).
 *
 * A refresh token consists of 16 random bytes that all tokens of its session share and 32 that only it has. So a used token
 * is known by the first part without being on a list, and a session is one row however often it is refreshed. The
 * first part is not the session's ID, which every service that sees an access token knows.
 *
 * Methods that change the table belong into a job of the write queue.
 */
export class Sessions {
  readonly #random: Random;
  readonly #byFamily;
  readonly #insert;
  readonly #endOldest;
  readonly #rotate;
  readonly #end;
  readonly #endAll;
  readonly #forget;

  constructor(db: Database, random: Random) {
    this.#random = random;
    this.#byFamily = db.prepare<[string, Uint8Array], Row>(
      "SELECT session_id, user_id, token, expires_at FROM sessions WHERE app_id = ? AND family = ?",
    );
    this.#insert = db.prepare<[string, string, string, Uint8Array, Uint8Array, number, number]>(
      `INSERT INTO sessions (session_id, app_id, user_id, family, token, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#endOldest = db
      .prepare<[string, string], string>(
        `DELETE FROM sessions WHERE session_id IN
           (SELECT session_id FROM sessions WHERE app_id = ? AND user_id = ?
              ORDER BY created_at DESC LIMIT -1 OFFSET ${MAX_SESSIONS - 1})
         RETURNING session_id`,
      )
      .pluck();
    this.#rotate = db.prepare<[Uint8Array, number, string]>(
      "UPDATE sessions SET token = ?, expires_at = ? WHERE session_id = ?",
    );
    this.#end = db
      .prepare<[string, Uint8Array], string>(
        "DELETE FROM sessions WHERE app_id = ? AND family = ? RETURNING session_id",
      )
      .pluck();
    this.#endAll = db.prepare<[string]>("DELETE FROM sessions WHERE app_id = ?");
    this.#forget = db.prepare<[number]>(
      "DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions WHERE expires_at <= ? LIMIT 100)",
    );
  }

  /** Begins a session of a user. */
  begin(appId: string, userId: string, now: number): Session & IssuedRefreshToken {
    const sessionId = toBase64Url(this.#random(16));
    const family = this.#random(FAMILY_LENGTH);
    const { token, issued } = this.#newToken(family, now);
    this.#forget.run(now);
    this.#insert.run(sessionId, appId, userId, sha256(family), token, now, issued.expiresAt);
    return { sessionId, userId, ...issued };
  }

  /** Looks at a refresh token, and changes nothing. */
  present(appId: string, refreshToken: string, now: number): Presented {
    const parts = parse(refreshToken);
    const row = parts && this.#byFamily.get(appId, sha256(parts.family));
    if (parts === undefined || row === undefined) return { kind: "unknown" };
    if (!timingSafeEqual(sha256(parts.token), row.token)) return { kind: "used" };
    if (row.expires_at <= now) return { kind: "unknown" };
    return { kind: "current", sessionId: row.session_id, userId: row.user_id };
  }

  /** Puts a new token in the place of a current one. */
  rotate(session: Session, refreshToken: string, now: number): IssuedRefreshToken {
    const parts = parse(refreshToken);
    if (parts === undefined) throw new Error("only a current refresh token is rotated");
    const { token, issued } = this.#newToken(parts.family, now);
    this.#rotate.run(token, issued.expiresAt, session.sessionId);
    return issued;
  }

  /**
   * Ends the session that a refresh token, used or not, belongs to.
   *
   * @returns the session's ID; undefined if there is none
   */
  end(appId: string, refreshToken: string): string | undefined {
    const parts = parse(refreshToken);
    return parts && this.#end.get(appId, sha256(parts.family));
  }

  /**
   * Ends the oldest sessions of a user, so many that there is room for one more.
   *
   * @returns their IDs
   */
  endOldest(appId: string, userId: string): string[] {
    return this.#endOldest.all(appId, userId);
  }

  /** Ends all sessions of an app. */
  endAll(appId: string): void {
    this.#endAll.run(appId);
  }

  #newToken(family: Uint8Array, now: number): { token: Uint8Array; issued: IssuedRefreshToken } {
    const bytes = concatBytes(family, this.#random(SECRET_LENGTH));
    const issued = { refreshToken: toBase64Url(bytes), expiresAt: now + REFRESH_TOKEN_LIFE_SECONDS };
    return { token: sha256(bytes), issued };
  }
}

function parse(refreshToken: string): { family: Uint8Array; token: Uint8Array } | undefined {
  const token = fromBase64Url(refreshToken);
  if (token?.length !== FAMILY_LENGTH + SECRET_LENGTH) return undefined;
  return { family: token.subarray(0, FAMILY_LENGTH), token };
}
