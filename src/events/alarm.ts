import type { Clock } from "../core/clock.ts";
import { inTurns } from "../core/turns.ts";

/** Somebody who is to be called back. */
export interface Sleeper {
  ring(): void;
}

/** Calls many back, each the same time after it asked: with one timer for all, and not all of them at once. */
export class Alarm {
  readonly #clock: Clock;
  readonly #milliseconds: number;
  /** When each is due, in that order, as all wait equally long. */
  readonly #dueAt = new Map<Sleeper, number>();
  /** True while a timer is set, or some are being called. */
  #busy = false;

  constructor(clock: Clock, milliseconds: number) {
    this.#clock = clock;
    this.#milliseconds = milliseconds;
  }

  /** Calls `sleeper` back once when the time has passed from now on. */
  set(sleeper: Sleeper): void {
    this.#dueAt.delete(sleeper);
    this.#dueAt.set(sleeper, this.#clock.now() + this.#milliseconds);
    this.#wait();
  }

  /** `sleeper` is not called any more. */
  cancel(sleeper: Sleeper): void {
    this.#dueAt.delete(sleeper);
  }

  #wait(): void {
    const [first] = this.#dueAt.values();
    if (first === undefined || this.#busy) return;
    this.#busy = true;
    this.#clock.setTimer(Math.max(0, this.#left(first)), () =>
      inTurns(this.#ring(), () => {
        this.#busy = false;
        this.#wait();
      }),
    );
  }

  /** Milliseconds. Nobody waits longer than the whole time: if it seems so, the clock was set back. */
  #left(dueAt: number): number {
    const left = dueAt - this.#clock.now();
    return left > this.#milliseconds ? 0 : left;
  }

  *#ring(): Generator<void, void> {
    for (const [sleeper, dueAt] of this.#dueAt) {
      if (this.#left(dueAt) > 0) return;
      this.#dueAt.delete(sleeper);
      yield sleeper.ring();
    }
  }
}
