import { toBase64Url } from "../core/bytes.ts";
import type { Random } from "../core/random.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Database } from "../store/database.ts";

/** A user of one app. */
export type User = {
  /** Opaque, never used again. */
  readonly userId: string;
  /** A PHC string. */
  readonly password: string;
};

/** What stands in the `sub` of a user's tokens. */
export function subjectOf(userId: string): string {
  return `user:${userId}`;
}

/**
 * The users of all tenants. Names are those of `normaliseUserName`. Methods that change the table belong into a job of the
 * write queue.
 */
export class Users {
  readonly #random: Random;
  readonly #byName;
  readonly #insert;
  readonly #setPassword;
  readonly #removeAll;

  constructor(db: Database, random: Random) {
    this.#random = random;
    this.#byName = db.prepare<[string, string], User>(
      "SELECT user_id AS userId, password FROM users WHERE app_id = ? AND name = ?",
    );
    this.#insert = db.prepare<[string, string, string, string, number]>(
      `INSERT INTO users (app_id, user_id, name, password, created_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (app_id, name) DO NOTHING`,
    );
    this.#setPassword = db.prepare<[string, string, string]>(
      "UPDATE users SET password = ? WHERE app_id = ? AND user_id = ?",
    );
    this.#removeAll = db.prepare<[string]>("DELETE FROM users WHERE app_id = ?");
  }

  byName(appId: string, name: string): User | undefined {
    return this.#byName.get(appId, name);
  }

  /**
   * Adds a user.
   *
   * @returns the new user ID
   * @throws Refusal USER_EXISTS
   */
  add(appId: string, name: string, password: string, now: number): string {
    const userId = toBase64Url(this.#random(16));
    if (this.#insert.run(appId, userId, name, password, now).changes === 0) throw userExists();
    return userId;
  }

  setPassword(appId: string, userId: string, password: string): void {
    this.#setPassword.run(password, appId, userId);
  }

  /** Deletes all users of an app, and with them their sessions. */
  removeAll(appId: string): void {
    this.#removeAll.run(appId);
  }
}

/** The refusal of a name that is taken. */
export function userExists(): Refusal {
  return new Refusal(Reason.USER_EXISTS, "this user name is taken");
}
