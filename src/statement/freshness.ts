import { Reason } from "../core/refusal.ts";
import { refuse } from "./breach.ts";
import type { OpenedRequest } from "./statement.ts";

/** How far a timestamp may be from now. */
export type FreshnessWindow = {
  /** The greatest age in seconds; Infinity for none. */
  readonly pastSeconds: number;
  /** How far the signer's clock may be ahead, in seconds. */
  readonly futureSeconds: number;
};

/** The window of an outermost Statement unless configured otherwise. */
export const DEFAULT_WINDOW: FreshnessWindow = { pastSeconds: 300, futureSeconds: 300 };

/**
 * What is wrong with a timestamp, TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE; undefined if it is within the window, whose ends belong to it.
 *
 * @param timestamp Unix seconds, from a header
 * @param now Unix seconds
 */
export function freshnessProblem(timestamp: bigint, now: number, window: FreshnessWindow): Reason | undefined {
  const age = now - Number(timestamp);
  if (age > window.pastSeconds) return Reason.TIMESTAMP_TOO_OLD;
  if (-age > window.futureSeconds) return Reason.TIMESTAMP_IN_FUTURE;
  return undefined;
}

/**
 * Checks the timestamp of a request.
 *
 * @param now Unix seconds
 * @throws Refusal TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE
 */
export function checkFreshness(request: OpenedRequest, now: number, window: FreshnessWindow = DEFAULT_WINDOW): void {
  const reason = freshnessProblem(request.header.timestamp, now, window);
  if (reason === undefined) return;
  const limit = reason === Reason.TIMESTAMP_TOO_OLD ? window.pastSeconds : window.futureSeconds;
  const metadata = { now: String(now), limit_seconds: String(limit) };
  throw refuse(request.field, { reason, path: "header.timestamp", metadata });
}
