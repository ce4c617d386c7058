import { Code } from "@connectrpc/connect";
import type { Clock } from "../core/clock.ts";
import { isRefusal } from "../core/refusal.ts";
import { codeOf } from "../rpc/call/codes.ts";

// Waits before the second, third and fourth attempt, in milliseconds.
const WAITS_MS = [250, 1000, 4000];

/**
 * Makes an attempt, and makes it again while it fails because somebody can't be reached or is overloaded: at most four
 * times within a few seconds. Attempts must be repeatable, as every signed request is when its bytes stay the same.
 *
 * @param attempt gets the number of the attempt, from 1
 * @throws what the last attempt threw
 */
export async function withRetries<T>(clock: Clock, attempt: (number: number) => Promise<T>): Promise<T> {
  for (const [index, wait] of WAITS_MS.entries()) {
    try {
      return await attempt(index + 1);
    } catch (error) {
      if (!mayPass(error)) throw error;
    }
    await new Promise<void>((resolve) => clock.setTimer(wait, resolve));
  }
  return attempt(WAITS_MS.length + 1);
}

/** True for failures that may be gone a moment later. */
export function mayPass(error: unknown): boolean {
  if (!isRefusal(error)) return false;
  const code = codeOf(error.reason);
  return code === Code.Unavailable || code === Code.DeadlineExceeded;
}
