import { type Clock, unixSeconds } from "../core/clock.ts";
import { checkFreshness, DEFAULT_WINDOW, type FreshnessWindow } from "../statement/freshness.ts";
import type { OpenedRequest } from "../statement/statement.ts";
import type { Nonces } from "../store/nonces.ts";

/**
 * Whether a Statement that verifies may still do something for the first time. Asked after it turned out not to be a known
 * one: a known Statement keeps its outcome, however old it is.
 */
export class Admission {
  readonly #nonces: Nonces;
  readonly #clock: Clock;
  readonly #window: FreshnessWindow;

  constructor(options: { nonces: Nonces; clock: Clock; window?: FreshnessWindow }) {
    this.#nonces = options.nonces;
    this.#clock = options.clock;
    this.#window = options.window ?? DEFAULT_WINDOW;
  }

  /**
   * Refuses a Statement whose nonce was spent by another one, or whose time is out of the window. Changes nothing.
   *
   * @throws Refusal NONCE_REUSED, TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE
   */
  check(order: OpenedRequest): void {
    this.#nonces.check(order);
    checkFreshness(order, unixSeconds(this.#clock), this.#window);
  }

  /**
   * The same as {@link check}, and spends the nonce. Belongs into the job of the change that the Statement makes.
   *
   * @returns the time of the change, in Unix seconds
   */
  admit(order: OpenedRequest): number {
    this.check(order);
    const now = unixSeconds(this.#clock);
    this.#nonces.spend(order, now);
    return now;
  }

  /**
   * The same as {@link admit} for a Statement whose outcome is kept nowhere: the same bytes again are refused, too.
   *
   * @throws Refusal NONCE_REUSED, TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE
   */
  admitOnce(order: OpenedRequest): number {
    this.#nonces.checkUnspent(order);
    return this.admit(order);
  }

  /**
   * The same as {@link admit} for a Statement that only reads: the same bytes again read again while they are fresh.
   *
   * @throws Refusal NONCE_REUSED, TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE
   */
  admitRead(order: OpenedRequest): number {
    this.check(order);
    return this.#nonces.isSpent(order) ? unixSeconds(this.#clock) : this.admit(order);
  }
}
