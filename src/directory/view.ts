import type { Clock } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";

// The least time between the beginnings of two reads, in milliseconds, however often they are asked for or fail.
const MIN_READ_INTERVAL_MS = 1000;

/**
 * One thing that another party knows better, as it was read last. Its age counts from before the read was sent, so it is
 * never older than it seems.
 */
export class View<T> {
  readonly #read: () => Promise<T>;
  readonly #clock: Clock;
  readonly #maxAgeMs: number;
  #known: { readonly value: T; readonly asOf: number } | undefined;
  #failure: unknown;
  #reading: Promise<void> | undefined;
  #readAt = Number.NEGATIVE_INFINITY;

  constructor(read: () => Promise<T>, clock: Clock, maxAgeMs: number) {
    this.#read = read;
    this.#clock = clock;
    this.#maxAgeMs = maxAgeMs;
  }

  /**
   * What is known, read anew if it is too old; if it is past half its age, that happens in the background.
   *
   * @throws VIEW_STALE {age_seconds} if what is known is too old; what the read threw if nothing was ever known
   */
  async get(): Promise<T> {
    const age = this.#age();
    if (this.#known !== undefined && age < this.#maxAgeMs) {
      if (age >= this.#maxAgeMs / 2 && !this.#readLately()) void this.#readAnew();
      return this.#known.value;
    }
    return this.refresh();
  }

  /** Reads anew, unless that happened lately. If it fails, what is known is returned for as long as it is not too old. */
  async refresh(): Promise<T> {
    if (!this.#readLately()) await this.#readAnew();
    else await this.#reading;
    if (this.#known === undefined) throw this.#failure;
    const age = this.#age();
    if (age < this.#maxAgeMs) return this.#known.value;
    throw new Refusal(Reason.VIEW_STALE, "the registry can't be asked, and what is known is too old", {
      metadata: { age_seconds: String(Math.floor(age / 1000)) },
      cause: this.#failure,
    });
  }

  /** Never rejects: the outcome is in the fields. One at a time; all who ask meanwhile wait for the same. */
  #readAnew(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const asOf = this.#clock.now();
    this.#readAt = asOf;
    try {
      this.#known = { value: await this.#read(), asOf };
    } catch (error) {
      this.#failure = error;
    }
  }

  #readLately(): boolean {
    const since = this.#clock.now() - this.#readAt;
    return since >= 0 && since < MIN_READ_INTERVAL_MS;
  }

  /** Milliseconds; without end if nothing is known, or if the clock was set back. */
  #age(): number {
    const age = this.#clock.now() - (this.#known?.asOf ?? Number.NEGATIVE_INFINITY);
    return age < 0 ? Number.POSITIVE_INFINITY : age;
  }
}
