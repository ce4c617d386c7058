import type { Clock } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";

// The least time between the beginnings of two reads, in milliseconds, however often they are asked for or fail.
const MIN_READ_INTERVAL_MS = 1000;

/** What was read, and at which of the app's sequences that was so. */
export type Reading<T> = { readonly value: T; readonly sequence: bigint };

/** A reading that a view has. */
export type Known<T> = Reading<T> & {
  /** When the read began, in milliseconds. */
  readonly asOf: number;
  /** Greater than that of every reading before it, of any view. */
  readonly number: number;
};

let readings = 0;

/** What {@link View} needs. */
export type ViewOptions<T> = {
  readonly read: () => Promise<Reading<T>>;
  /** The least sequence that a reading must have now: what is older is known to be out of date, and never believed. */
  readonly minSequence: () => bigint;
  readonly clock: Clock;
  readonly maxAgeMs: number;
};

/**
 * One thing that another party knows better, as it was read last. Its age counts from before the read was sent, so it is
 * never older than it seems.
 */
export class View<T> {
  readonly #options: ViewOptions<T>;
  #known: Known<T> | undefined;
  #failure: unknown;
  #reading: Promise<void> | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #readFor = 0n;

  constructor(options: ViewOptions<T>) {
    this.#options = options;
  }

  /**
   * What is known, if that is not too old; if it is past half its age, it is read anew in the background.
   *
   * @param confirmed the sequence that the app has now: what was read at this sequence holds, however long ago that was
   */
  now(confirmed?: bigint): Known<T> | undefined {
    const known = this.#known;
    if (known === undefined || !this.#holds(known, confirmed)) return undefined;
    const isAgeing = known.sequence !== confirmed && this.#age() >= this.#options.maxAgeMs / 2;
    if (isAgeing && !this.#readLately()) void this.#readAnew();
    return known;
  }

  /**
   * What is known as in {@link now}, and read anew if it is too old.
   *
   * @throws VIEW_STALE {age_seconds} if what is known is too old; what the read threw if nothing was ever known
   */
  async get(confirmed?: bigint): Promise<T> {
    const known = this.now(confirmed);
    return known === undefined ? this.refresh(confirmed) : known.value;
  }

  /** Reads anew, unless that happened lately. If it fails, what is known is returned for as long as it holds. */
  async refresh(confirmed?: bigint): Promise<T> {
    await this.#readUnlessLately();
    // What was under way may have begun too long ago, or the app may have changed meanwhile.
    if (!this.#isGood(confirmed)) await this.#readUnlessLately();
    if (this.#known === undefined) throw this.#failure;
    if (this.#holds(this.#known, confirmed)) return this.#known.value;
    throw new Refusal(Reason.VIEW_STALE, "the registry can't be asked, and what is known is too old", {
      // No less than 0, if the clock was set back.
      metadata: { age_seconds: String(Math.max(0, Math.floor((this.#options.clock.now() - this.#known.asOf) / 1000))) },
      cause: this.#failure,
    });
  }

  #isGood(confirmed: bigint | undefined): boolean {
    return this.#known !== undefined && this.#holds(this.#known, confirmed);
  }

  #holds(known: Reading<T>, confirmed: bigint | undefined): boolean {
    if (this.#isOutdated(known)) return false;
    return known.sequence === confirmed || this.#age() < this.#options.maxAgeMs;
  }

  #isOutdated({ sequence }: Reading<T>): boolean {
    return sequence < this.#options.minSequence();
  }

  /** Reads anew, or waits for what is being read, unless that ended lately. */
  async #readUnlessLately(): Promise<void> {
    await (this.#readLately() ? this.#reading : this.#readAnew());
  }

  /** Never rejects: the outcome is in the fields. One at a time; all who ask meanwhile wait for the same. */
  #readAnew(): Promise<void> {
    this.#reading ??= this.#readOnce().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(): Promise<void> {
    const asOf = this.#options.clock.now();
    this.#readAt = asOf;
    this.#readFor = this.#options.minSequence();
    try {
      this.#known = { ...(await this.#options.read()), asOf, number: ++readings };
    } catch (error) {
      this.#failure = error;
    }
  }

  /** What was read before the app was known to have changed doesn't count. */
  #readLately(): boolean {
    const since = this.#options.clock.now() - this.#readAt;
    return since >= 0 && since < MIN_READ_INTERVAL_MS && this.#readFor >= this.#options.minSequence();
  }

  /** Milliseconds; without end if nothing is known, or if the clock was set back. */
  #age(): number {
    const age = this.#options.clock.now() - (this.#known?.asOf ?? Number.NEGATIVE_INFINITY);
    return age < 0 ? Number.POSITIVE_INFINITY : age;
  }
}
