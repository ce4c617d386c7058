import type { Readable } from "node:stream";
import type { Clock } from "../../core/clock.ts";

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

/** Who waits for a body. */
export type BodyTaker = { take(received: Received): void };

/**
 * Reads a small body. Hands over all of it, or what there is when it turns out to be large or slow; nothing if the caller
 * is gone before.
 *
 * @param deadlineMs - the caller's own deadline
 */
export type BodyReader = (source: Readable, deadlineMs: number, taker: BodyTaker) => void;

/**
 * Makes a {@link BodyReader}. Nearly all small bodies arrive in the same turn of the event loop as their head, so only
 * the others cost a timer.
 *
 * @param patienceMs - how long a body may take before it counts as slow
 */
export function createBodyReader(clock: Clock, maxBytes: number, patienceMs: number): BodyReader {
  let ofThisTurn: SmallBody[] = [];
  const turnEnds = () => {
    const bodies = ofThisTurn;
    ofThisTurn = [];
    for (const body of bodies) body.turnEnds(clock, patienceMs);
  };

  return (source: Source, deadlineMs, taker) => {
    const body = new SmallBody(source, deadlineMs, taker, maxBytes);
    source[readBy] = body;
    source.on("data", onData).on("end", onEnd);
    if (ofThisTurn.length === 0) setImmediate(turnEnds);
    ofThisTurn.push(body);
  };
}

// What is read knows its reader, and all share their listeners: closures of its own for each request cost more than they do.
const readBy = Symbol("body");
type Source = Readable & { [readBy]?: SmallBody | undefined };

function onData(this: Source, chunk: Buffer): void {
  this[readBy]?.add(chunk);
}

function onEnd(this: Source): void {
  this[readBy]?.end();
}

class SmallBody {
  readonly #source: Source;
  readonly #deadlineMs: number;
  readonly #taker: BodyTaker;
  readonly #maxBytes: number;
  #bytes = NO_BODY.bytes;
  #waitedSince: number | undefined;
  #cancel: (() => void) | undefined;

  constructor(source: Source, deadlineMs: number, taker: BodyTaker, maxBytes: number) {
    this.#source = source;
    this.#deadlineMs = deadlineMs;
    this.#taker = taker;
    this.#maxBytes = maxBytes;
  }

  add(chunk: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (this.#bytes.length > this.#maxBytes) this.#handOn();
  }

  end(): void {
    this.#finish(undefined);
  }

  turnEnds(clock: Clock, patienceMs: number): void {
    if (this.#source[readBy] !== this || this.#source.destroyed) return;
    this.#waitedSince = clock.now();
    this.#cancel = clock.setTimer(Math.min(patienceMs, this.#deadlineMs), () => this.#handOn());
  }

  #handOn(): void {
    const source = this.#source;
    if (source.destroyed) return;
    source.off("data", onData);
    source.pause();
    this.#finish(source);
  }

  #finish(rest: Readable | undefined): void {
    this.#source[readBy] = undefined;
    this.#cancel?.();
    this.#taker.take({ bytes: this.#bytes, rest, waitedSince: this.#waitedSince });
  }
}
