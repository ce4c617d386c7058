/** How many steps are made in one turn of the event loop. */
const STEPS_AT_ONCE = 100;

/**
 * Makes a long job's steps, some in each turn of the event loop, so that calls have their turn in between.
 *
 * @param steps - is asked for one step after the other until it is done; may not throw
 * @param done - called then
 */
export function inTurns(steps: Iterator<unknown>, done: () => void): void {
  for (let count = 0; count < STEPS_AT_ONCE; count++) {
    if (steps.next().done === true) {
      done();
      return;
    }
  }
  setImmediate(() => inTurns(steps, done));
}
