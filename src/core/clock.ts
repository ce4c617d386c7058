/** Where a part gets its time from, so that tests control it. */
export interface Clock {
  /** Wall time in milliseconds since the Unix epoch. */
  now(): number;
  /**
   * Runs `callback` once after `milliseconds`.
   *
   * @returns a function that cancels the timer; harmless after it fired
   */
  setTimer(milliseconds: number, callback: () => void): () => void;
}

/** The machine's clock. Its timers don't keep a process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  setTimer(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

/** Whole Unix seconds of a clock, the unit of every timestamp on the wire. */
export function unixSeconds(clock: Clock): number {
  return Math.floor(clock.now() / 1000);
}
