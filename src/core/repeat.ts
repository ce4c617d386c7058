import type { Clock } from "./clock.ts";
import type { Random } from "./random.ts";

/** Work that repeats until it is stopped. */
export type Repeated = {
  /** Stops it, and waits for the work that is being done. */
  stop(): Promise<void>;
};

/**
 * Does `work` again and again, each time about `everyMs` milliseconds after it was done: a quarter more or less, as `random`
 * says, so that parties that started together don't stay in step.
 *
 * @param work must not throw
 */
export function repeat(
  work: () => Promise<void>,
  { everyMs, clock, random }: { everyMs: number; clock: Clock; random: Random },
): Repeated {
  let stopped = false;
  let underWay = Promise.resolve();
  let cancel = schedule();

  function schedule(): () => void {
    const [byte = 0] = random(1);
    return clock.setTimer(everyMs * (0.75 + byte / 512), () => {
      underWay = work().finally(() => {
        if (!stopped) cancel = schedule();
      });
    });
  }

  return {
    async stop() {
      stopped = true;
      cancel();
      await underWay;
    },
  };
}
