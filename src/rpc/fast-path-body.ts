import type { Readable } from "node:stream";
import type { Clock } from "../core/clock.ts";

/** What came of a request's body. */
export type Received = {
  readonly bytes: Buffer;
  /** Where the rest is to be read from; undefined if this is all. */
  readonly rest: Readable | undefined;
  /** Since when it has been waited for, in milliseconds since 1970; undefined if it came together with the head. */
  readonly waitedSince: number | undefined;
};

/** Of a request without a body. */
export const NO_BODY: Received = { bytes: Buffer.alloc(0), rest: undefined, waitedSince: undefined };

/**
 * Reads a small body. Calls `done` with all of it, or with what there is when it turns out to be large or slow; never if
 * the caller is gone before.
 *
 * @param deadlineMs - the caller's own deadline
 */
export type BodyReader = (source: Readable, deadlineMs: number, done: (received: Received) => void) => void;

/**
 * Makes a {@link BodyReader}. Nearly all small bodies arrive in the same turn of the event loop as their head, so only
 * the others cost a timer.
 *
 * @param patienceMs - how long a body may take before it counts as slow
 */
export function createBodyReader(clock: Clock, maxBytes: number, patienceMs: number): BodyReader {
  let ofThisTurn: (() => void)[] = [];
  const afterThisTurn = (callback: () => void) => {
    if (ofThisTurn.length === 0) {
      setImmediate(() => {
        const callbacks = ofThisTurn;
        ofThisTurn = [];
        for (const each of callbacks) each();
      });
    }
    ofThisTurn.push(callback);
  };

  return (source, deadlineMs, done) => {
    let { bytes, waitedSince } = NO_BODY;
    let open = true;
    let cancel: (() => void) | undefined;
    const finish = (rest: Readable | undefined) => {
      open = false;
      cancel?.();
      done({ bytes, rest, waitedSince });
    };
    const handOn = () => {
      if (source.destroyed) return;
      source.off("data", take);
      source.pause();
      finish(source);
    };
    const take = (chunk: Buffer) => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      if (bytes.length > maxBytes && open) handOn();
    };
    source.on("data", take);
    source.on("end", () => {
      if (open) finish(undefined);
    });
    afterThisTurn(() => {
      if (!open || source.destroyed) return;
      waitedSince = clock.now();
      cancel = clock.setTimer(Math.min(patienceMs, deadlineMs), handOn);
    });
  };
}
