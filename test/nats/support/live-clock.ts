import { systemClock } from "../../../src/core/clock.ts";
import { FakeClock } from "../../support/clock.ts";

/** The machine's clock, as a real server goes by it too. Moving it on moves what it shows and no timers. */
export class LiveClock extends FakeClock {
  #ahead = 0;

  override now(): number {
    return systemClock.now() + this.#ahead;
  }

  override seconds(): number {
    return Math.floor(this.now() / 1000);
  }

  override setTimer(milliseconds: number, callback: () => void): () => void {
    return systemClock.setTimer(milliseconds, callback);
  }

  override advance(seconds: number): void {
    this.#ahead += seconds * 1000;
  }
}
