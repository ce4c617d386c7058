import type { Throttle, ThrottleLimit } from "../store/throttle.ts";
import type { RegistryCore } from "./core.ts";
import type { ContactRow } from "./store.ts";

/**
 * By what activation codes are counted: each that is sent is mail that nobody may have asked for. `source` is where the call
 * comes from, `contact` the address that it goes to, `registry` all of them together. `wrong-code` counts those that were tried
 * in vain, see {@link countWrongCode}.
 */
export type CodeScope = "source" | "contact" | "registry" | "wrong-code";

/** How many codes may be sent, and tried. */
export type CodeLimits = Readonly<Record<CodeScope, ThrottleLimit>>;

/**
 * Codes that a source has sent: 20 at once, then one every 6 minutes. To one contact: 10 at once, then one an hour. All together:
 * 250 at once, then 1,000 an hour. Wrong ones that a source tries for one code: 10 at once, then one an hour.
 */
export const defaultCodeLimits: CodeLimits = {
  source: { burst: 20, intervalSeconds: 360 },
  contact: { burst: 10, intervalSeconds: 3600 },
  registry: limitPerHour(1000),
  "wrong-code": { burst: 10, intervalSeconds: 3600 },
};

/** A limit for all codes together: so many an hour, and a quarter of them at once. */
export function limitPerHour(count: number): ThrottleLimit {
  return { burst: Math.max(1, Math.floor(count / 4)), intervalSeconds: 3600 / count };
}

/**
 * Counts a code that is about to be sent. Belongs into the job of the write queue that decides it, so that what is refused for one
 * scope is not counted for another.
 *
 * @throws Refusal RATE_LIMITED {retry_after_seconds}
 */
export function countCode({ codeThrottle }: Pick<RegistryCore, "codeThrottle">, source: string, email: string): void {
  codeThrottle.count("contact", email.toLowerCase());
  codeThrottle.count("source", source);
  codeThrottle.count("registry", "");
}

/**
 * Counts a code that is tried, unless it turns out to be right. Each source by itself, as anybody may try: wrong codes of strangers
 * must not keep the one to whom it was sent from using it. Belongs into a job of the write queue.
 *
 * @param contact whose code it is to be; what was tried for an earlier one doesn't count for a later one
 * @returns to be called if it was right
 * @throws Refusal RATE_LIMITED {retry_after_seconds}
 */
export function countWrongCode(
  { codeThrottle }: Pick<RegistryCore, "codeThrottle">,
  source: string,
  { namespace, codesSent }: Pick<ContactRow, "namespace" | "codesSent">,
): () => void {
  const name = `${namespace}/${codesSent}/${source}`;
  codeThrottle.count("wrong-code", name);
  return () => codeThrottle.clear("wrong-code", name);
}

export type CodeThrottle = Throttle<CodeScope>;
