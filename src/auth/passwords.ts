import type { Random } from "../core/random.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { hashPassword, hasOtherCost, type PasswordCost, verifyPassword } from "./password.ts";

// Each hash holds a thread of libuv's pool (four, unless the operator says otherwise), which signatures need too.
const MAX_RUNNING = 2;
const MAX_WAITING = 64;

/** What became of a password. */
export type PasswordOutcome = {
  readonly correct: boolean;
  /** A hash at today's cost to be kept instead, if the password is right and its hash was made at another cost. */
  readonly betterHash?: string;
};

/**
 * Hashes and verifies passwords with a bound on how much of the machine strangers can occupy with it: a few hashes at the
 * same time, a short queue behind them.
 */
export class Passwords {
  readonly #cost: PasswordCost;
  readonly #random: Random;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #dummy: Promise<string> | undefined;

  constructor(cost: PasswordCost, random: Random) {
    this.#cost = cost;
    this.#random = random;
  }

  /**
   * The hash of a new password.
   *
   * @throws Refusal OVERLOADED
   */
  hash(password: string): Promise<string> {
    return this.#inTurn(() => hashPassword(password, this.#cost, this.#random));
  }

  /**
   * Compares a password with a hash. Without hash, as the user is unknown, the same work is done on a dummy, so that the
   * time tells nobody which names exist.
   *
   * @throws Refusal OVERLOADED
   */
  async check(password: string, phc: string | undefined): Promise<PasswordOutcome> {
    return this.#inTurn(async () => {
      const matches = await verifyPassword(password, phc ?? (await this.#dummyHash()));
      if (!matches || phc === undefined) return { correct: false };
      if (!hasOtherCost(phc, this.#cost)) return { correct: true };
      return { correct: true, betterHash: await hashPassword(password, this.#cost, this.#random) };
    });
  }

  /** Makes the dummy, so that the first unknown name doesn't take longer than the second. */
  async prepare(): Promise<void> {
    await this.#dummyHash();
  }

  #dummyHash(): Promise<string> {
    this.#dummy ??= hashPassword("", this.#cost, this.#random);
    return this.#dummy;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING) throw new Refusal(Reason.OVERLOADED, "too many passwords to check");
      // Whoever ends next hands its place over, so nobody slips in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
