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

/** Resolves in the next turn of the event loop: what was written to sockets in this one has been handed to the system by then. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Somebody who has more to do than others should wait for. */
export interface Waiting {
  /** Makes one step; may not throw. */
  turn(): void;
}

const waiting = new Set<Waiting>();
let isTaking = false;

/**
 * Gives somebody a turn, behind all who wait already, some in each turn of the event loop: many who have much to do keep calls
 * waiting no longer than a few who have.
 */
export function takeTurn(somebody: Waiting): void {
  waiting.add(somebody);
  if (isTaking) return;
  isTaking = true;
  setImmediate(() =>
    inTurns(takeAll(), () => {
      isTaking = false;
    }),
  );
}

function* takeAll(): Generator<void, void> {
  for (const somebody of waiting) {
    waiting.delete(somebody);
    yield somebody.turn();
  }
}
