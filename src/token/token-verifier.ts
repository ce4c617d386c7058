import { equalBytes, toBase64Url, utf8 } from "../core/bytes.ts";
import { sha256 } from "../statement/crypto.ts";
import { LruCache } from "../statement/lru-cache.ts";
import {
  type AuthenticToken,
  acceptClaims,
  authenticate,
  selectKey,
  type TokenExpectation,
  type verifyAccessToken,
} from "./access-token.ts";
import type { AccessTokenClaims } from "./claims.ts";
import { MAX_TOKEN_LENGTH } from "./compact.ts";
import { tokenInvalid } from "./token-invalid.ts";

/** As {@link verifyAccessToken}. */
export type TokenVerifier = typeof verifyAccessToken;

const DEFAULT_CAPACITY = 10_000;

/**
 * A {@link verifyAccessToken} that doesn't verify the same signature twice. A client shows its token with every call, and
 * the signature is by far the dearest part of the check.
 *
 * Nothing but the signature and the form is remembered: that the key still counts, the expiry, the issuer, the audience
 * and the use are checked each time, so a revoked key ends its tokens at once. Tokens are kept as their digests.
 *
 * @param options.capacity the most tokens that are remembered, about a kilobyte each; those that were not shown for the
 *   longest time are forgotten first
 */
export function createTokenVerifier(options: { capacity?: number } = {}): TokenVerifier {
  const known = new LruCache<string, AuthenticToken>(options.capacity ?? DEFAULT_CAPACITY);
  return async (token: string, expected: TokenExpectation): Promise<AccessTokenClaims> => {
    if (token.length > MAX_TOKEN_LENGTH) throw tokenInvalid("length");
    const digest = toBase64Url(sha256(utf8(token)));
    const remembered = known.get(digest);
    if (remembered !== undefined) {
      const key = selectKey(remembered.keyId, expected.keys, expected.now);
      if (equalBytes(key.publicKey, remembered.publicKey)) return acceptClaims(remembered, expected);
    }
    const authentic = await authenticate(token, expected);
    known.set(digest, authentic);
    return acceptClaims(authentic, expected);
  };
}
