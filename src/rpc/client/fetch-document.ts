import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { bytesWithin } from "../../core/bytes.ts";
import { type Clock, systemClock } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { parseUrl } from "../../core/url.ts";
import type { Dialer } from "./dial.ts";
import { refusalFrom } from "./refusal-from.ts";

/** How to fetch a document. */
export type FetchOptions = {
  readonly dialer: Dialer;
  /** The Reason when the document cannot be had, e.g. PROVIDER_UNKNOWN. */
  readonly unavailable: Reason;
  /** Greatest size in bytes; 64 KiB if absent. */
  readonly maxBytes?: number | undefined;
  /** Time for everything together, in milliseconds; 5,000 if absent. */
  readonly timeoutMs?: number | undefined;
  readonly clock?: Clock | undefined;
};

/**
 * Fetches a small JSON document, such as `https://<domain>/.well-known/omi` or a JWKS, from a URL that a stranger may have
 * chosen. Redirects are not followed.
 *
 * @returns the bytes, unparsed
 * @throws Refusal ADDRESS_NOT_ALLOWED for a URL or address that may not be called, and for a redirect; ANSWER_INVALID for
 * an answer that is too large or not `application/json`; `unavailable` for anything else that is not a 200
 */
export async function fetchDocument(url: string, options: FetchOptions): Promise<Uint8Array> {
  const { dialer, unavailable, maxBytes = 64 * 1024, timeoutMs = 5_000, clock = systemClock } = options;
  // Whether plain http may be used there is the dialler's decision.
  const parsed = parseUrl(url, () => true);
  if (parsed === undefined) throw new Refusal(Reason.ADDRESS_NOT_ALLOWED, "not an absolute URL of a domain");
  const timeout = new AbortController();
  const cancel = clock.setTimer(timeoutMs, () => timeout.abort());
  const { signal } = timeout;
  const headers = { accept: "application/json" };
  try {
    const request = parsed.secure
      ? https.get(url, { agent: dialer.https, signal, headers })
      : http.get(url, { agent: dialer.http, signal, headers });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    check(response, unavailable);
    // Leaving early, by throwing, destroys the response and its connection.
    return await bytesWithin(response, maxBytes, () => tooLarge(maxBytes));
  } catch (error) {
    throw refusalFrom(error, unavailable);
  } finally {
    cancel();
  }
}

function check(response: http.IncomingMessage, unavailable: Reason): void {
  const { statusCode = 0, headers } = response;
  const refusal =
    statusCode >= 300 && statusCode < 400
      ? new Refusal(Reason.ADDRESS_NOT_ALLOWED, "the document's URL redirects")
      : statusCode !== 200
        ? new Refusal(unavailable, `the document's URL answered with status ${statusCode}`)
        : !/^application\/json\s*(;|$)/i.test(headers["content-type"] ?? "")
          ? new Refusal(Reason.ANSWER_INVALID, "the document is not application/json")
          : undefined;
  if (refusal === undefined) return;
  response.destroy();
  throw refusal;
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal(Reason.ANSWER_INVALID, `the document is larger than ${maxBytes} bytes`);
}
