import type { Clock } from "../../src/core/clock.ts";

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now: number;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  /** @param unixSeconds where it starts; by default some time in the year 2026 */
  constructor(unixSeconds = 1_790_000_000) {
    this.#now = unixSeconds * 1000;
  }

  now(): number {
    return this.#now;
  }

  /** Unix seconds. */
  seconds(): number {
    return Math.floor(this.#now / 1000);
  }

  setTimer(milliseconds: number, callback: () => void): () => void {
    const timer = { at: this.#now + milliseconds, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Goes back, as when somebody sets the time of day; timers wait for as long as before. */
  setBack(seconds: number): void {
    this.#now -= seconds * 1000;
    for (const timer of this.#timers) timer.at -= seconds * 1000;
  }

  /** Moves on, and fires the timers that are due on the way, in order. */
  advance(seconds: number): void {
    const end = this.#now + seconds * 1000;
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = end;
  }
}
