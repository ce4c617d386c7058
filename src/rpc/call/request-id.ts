import type { Random } from "../../core/random.ts";

// What a caller may choose: nothing that could break a log line or a header, and short.
const SANE = /^[A-Za-z0-9._-]{1,64}$/;

const ID_BYTES = 16;
const IDS_PER_DRAW = 256;

/** Gives a call its ID, from its `x-request-id` header. */
export type RequestIds = (header: string | string[] | undefined) => string;

/**
 * The ID that the caller chose, if it is a sane one. An answer from ready bytes names no other: nobody asks about an answer
 * that is the same for all, and in a cache it would be taken for that of another call.
 */
export function chosenRequestId(header: string | string[] | undefined): string | undefined {
  return typeof header === "string" && SANE.test(header) ? header : undefined;
}

/**
 * Makes request IDs: the caller's own, if it sent a sane one, else a new one of 16 random bytes in hexadecimal. Random
 * bytes are drawn for many IDs at a time.
 */
export function createRequestIds(random: Random): RequestIds {
  let drawn = "";
  let at = 0;
  return (header) => {
    const chosen = chosenRequestId(header);
    if (chosen !== undefined) return chosen;
    if (at >= drawn.length) {
      drawn = Buffer.from(random(ID_BYTES * IDS_PER_DRAW)).toString("hex");
      at = 0;
    }
    at += 2 * ID_BYTES;
    return drawn.slice(at - 2 * ID_BYTES, at);
  };
}
