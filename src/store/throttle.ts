import { createHmac } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Database } from "./database.ts";

/** The tables of a {@link Throttle}. */
export const throttleMigration = `
  CREATE TABLE throttle_secret (
    id     INTEGER PRIMARY KEY CHECK (id = 0),
    secret BLOB NOT NULL
  ) STRICT;
  CREATE TABLE throttle (
    slot    INTEGER NOT NULL PRIMARY KEY,
    free_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX throttle_by_age ON throttle (free_at);
`;

/** How many attempts are allowed. */
export type ThrottleLimit = {
  /** Attempts at once. */
  readonly burst: number;
  /** Seconds after which one more is allowed. */
  readonly intervalSeconds: number;
};

/** Few enough for any disk (32 MB), and so many that nobody shares a slot by accident. */
const SLOTS_PER_SCOPE = 2 ** 20;

/**
 * Slows down what must not be done often: counts attempts per scope (such as `account`, `source`) and name there, also over
 * restarts. An attempt is counted before it is made, so that many at once don't slip through, and may be given back.
 *
 * The generic cell rate algorithm (ITU-T I.371) needs one number per name: when the last of its counted attempts is paid
 * off. The table is bounded by construction, and not by eviction, with which a flood could wash out its own traces: names
 * are hashed into a fixed number of slots. The hash has a secret, so that nobody can aim at another's slot; and so the table
 * holds neither names nor addresses.
 *
 * {@link Throttle.count}, {@link Throttle.giveBack} and {@link Throttle.clear} belong into a job of the write queue.
 */
export class Throttle<Scope extends string> {
  readonly #clock: Clock;
  readonly #limits: Readonly<Record<Scope, ThrottleLimit>>;
  /** In the order in which they have their slots in the table. */
  readonly #scopes: readonly string[];
  readonly #secret: Uint8Array;
  readonly #freeAt;
  readonly #put;
  readonly #remove;
  readonly #forget;

  constructor(db: Database, limits: Readonly<Record<Scope, ThrottleLimit>>, clock: Clock, random: Random) {
    this.#clock = clock;
    this.#limits = limits;
    this.#scopes = Object.keys(limits).sort();
    db.prepare("INSERT INTO throttle_secret (id, secret) VALUES (0, ?) ON CONFLICT DO NOTHING").run(random(32));
    this.#secret = db.prepare<[], Buffer>("SELECT secret FROM throttle_secret").pluck().get() ?? new Uint8Array();
    this.#freeAt = db.prepare<[number], number>("SELECT free_at FROM throttle WHERE slot = ?").pluck();
    this.#put = db.prepare<[number, number]>(
      "INSERT INTO throttle (slot, free_at) VALUES (?, ?) ON CONFLICT DO UPDATE SET free_at = excluded.free_at",
    );
    this.#remove = db.prepare<[number]>("DELETE FROM throttle WHERE slot = ?");
    this.#forget = db.prepare<[number]>(
      "DELETE FROM throttle WHERE slot IN (SELECT slot FROM throttle WHERE free_at <= ? LIMIT 100)",
    );
  }

  /**
   * Counts an attempt.
   *
   * @throws Refusal RATE_LIMITED {retry_after_seconds}, and then it is not counted
   */
  count(scope: Scope, name: string): void {
    const now = this.#clock.now();
    const interval = this.#intervalMs(scope);
    const burst = this.#limits[scope].burst * interval;
    const slot = this.#slot(scope, name);
    const before = this.#freeAt.get(slot) ?? 0;
    // Further ahead than all of a burst, and once more that, it was counted before the clock was set back: nobody is to wait for that.
    const freeAt = (before > now + 2 * burst ? now : Math.max(before, now)) + interval;
    const waitMs = freeAt - now - burst;
    if (waitMs > 0) {
      const seconds = Math.ceil(waitMs / 1000);
      throw new Refusal(Reason.RATE_LIMITED, `too many attempts in a short time, counted by ${scope}`, {
        metadata: { retry_after_seconds: `${seconds}` },
        nextStep: `wait ${seconds} s, and try again`,
      });
    }
    this.#put.run(slot, freeAt);
    this.#forget.run(now);
  }

  /** Takes back one counted attempt. */
  giveBack(scope: Scope, name: string): void {
    const slot = this.#slot(scope, name);
    const freeAt = this.#freeAt.get(slot);
    if (freeAt !== undefined) this.#put.run(slot, freeAt - this.#intervalMs(scope));
  }

  /** Takes back all counted attempts. */
  clear(scope: Scope, name: string): void {
    this.#remove.run(this.#slot(scope, name));
  }

  #slot(scope: Scope, name: string): number {
    const digest = createHmac("sha256", this.#secret).update(`${scope}\0${name}`).digest();
    return (digest.readUInt32BE() % SLOTS_PER_SCOPE) + this.#scopes.indexOf(scope) * SLOTS_PER_SCOPE;
  }

  #intervalMs(scope: Scope): number {
    return Math.round(this.#limits[scope].intervalSeconds * 1000);
  }
}
