import type { ReadyAnswer } from "./ready-answers.ts";

/** The `cache-control` of what no cache may keep. */
export const NO_STORE = "no-store";

/**
 * What the answer to a GET tells caches: to keep it for whole seconds up to its expiry, or not at all.
 *
 * @param now - milliseconds since 1970
 */
export function cachingHeaders({ reuse }: ReadyAnswer, now: number): Record<string, string> {
  if (reuse === undefined) return { "cache-control": NO_STORE };
  const seconds = Math.max(0, Math.floor(reuse.expiresAt - now / 1000));
  return { "cache-control": `public, max-age=${seconds}`, etag: reuse.etag };
}

/** True if `If-None-Match` names the answer's tag, by the weak comparison of RFC 9110 section 13.1.2. */
export function isKnown(etag: string | null | undefined, ifNoneMatch: string | null | undefined): boolean {
  if (!etag || !ifNoneMatch) return false;
  return ifNoneMatch.split(",").some((candidate) => {
    const tag = candidate.trim();
    return tag === "*" || tag.replace(/^W\//, "") === etag;
  });
}
