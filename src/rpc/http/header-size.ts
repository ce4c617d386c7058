import { Reason, Refusal } from "../../core/refusal.ts";
import type { Limits } from "../call/limits.ts";

/**
 * True if the headers of a request are together within the limit. In HTTP/1.1 the parser has already seen to this; in HTTP/2
 * Node's own bound is 64 KiB.
 *
 * @param rawHeaders - names and values in turn, each byte as one character
 */
export function areHeadersWithin(rawHeaders: readonly string[], limits: Pick<Limits, "maxHeaderBytes">): boolean {
  let length = 0;
  for (const text of rawHeaders) length += text.length;
  return length <= limits.maxHeaderBytes;
}

/** The refusal of a request whose headers are not. */
export function headersTooLarge({ maxHeaderBytes }: Pick<Limits, "maxHeaderBytes">): Refusal {
  return new Refusal(Reason.TOO_LARGE, "headers too large", { metadata: { limit: `${maxHeaderBytes}` } });
}
