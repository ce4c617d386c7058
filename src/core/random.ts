import { randomBytes } from "node:crypto";

/** Where a part gets its randomness from, so that tests control it. Returns `length` unpredictable bytes. */
export type Random = (length: number) => Uint8Array;

/** The operating system's cryptographic random source. */
export const systemRandom: Random = (length) => new Uint8Array(randomBytes(length));
