import { toHex } from "../core/bytes.ts";
import type { Random } from "../core/random.ts";

// What a caller may choose: nothing that could break a log line or a header, and short.
const SANE = /^[A-Za-z0-9._-]{1,64}$/;

/** The caller's request ID, if it sent a sane one, else a new one of 16 random bytes in hexadecimal. */
export function requestIdOf(header: string | string[] | undefined, random: Random): string {
  return typeof header === "string" && SANE.test(header) ? header : toHex(random(16));
}
