import type { Throttle } from "../store/throttle.ts";
import type { WriteQueue } from "../store/write-queue.ts";

/** Who tries something that must not be tried often. */
export type Attempt = {
  /** Where the call comes from, see `sourceOf`. */
  readonly source: string;
  /** The account that is tried; undefined if it is none in particular. */
  readonly account?: { readonly appId: string; readonly name: string };
};

/** By what attempts are counted. */
export type AttemptScope = "account" | "source";

/** Counts attempts around the work that they cost. */
export class Attempts {
  readonly #throttle: Throttle<AttemptScope>;
  readonly #writes: WriteQueue;

  constructor(throttle: Throttle<AttemptScope>, writes: WriteQueue) {
    this.#throttle = throttle;
    this.#writes = writes;
  }

  /**
   * Counts an attempt, and then makes it. One that couldn't be made, as `work` threw, doesn't count.
   *
   * @throws Refusal RATE_LIMITED {retry_after_seconds}, or what `work` threw
   */
  async make<T>(attempt: Attempt, work: () => Promise<T>): Promise<T> {
    await this.#writes.run("attempt.count", () => {
      this.#throttle.count("source", attempt.source);
      if (attempt.account !== undefined) this.#throttle.count("account", nameOf(attempt.account));
    });
    try {
      return await work();
    } catch (error) {
      await this.#writes.run("attempt.give-back", () => {
        this.#throttle.giveBack("source", attempt.source);
        if (attempt.account !== undefined) this.#throttle.giveBack("account", nameOf(attempt.account));
      });
      throw error;
    }
  }

  /** Forgets the failures of an account whose owner has shown up. Belongs into a job of the write queue. */
  succeeded({ source, account }: Attempt): void {
    this.#throttle.giveBack("source", source);
    if (account !== undefined) this.#throttle.clear("account", nameOf(account));
  }
}

/** No AppID holds a slash. */
function nameOf({ appId, name }: { appId: string; name: string }): string {
  return `${appId}/${name}`;
}
