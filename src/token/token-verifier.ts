import { hash } from "node:crypto";
import { equalBytes } from "../core/bytes.ts";
import { LruCache } from "../statement/lru-cache.ts";
import {
  type AuthenticToken,
  acceptClaims,
  authenticate,
  findKey,
  type TokenExpectation,
  type verifyAccessToken,
} from "./access-token.ts";
import { type AccessTokenClaims, readClaims } from "./claims.ts";
import { MAX_TOKEN_LENGTH, parseCompactToken } from "./compact.ts";
import { tokenInvalid } from "./token-invalid.ts";

/** A token as somebody shows it. */
export type ShownToken = {
  /** For whom it says that it is. Only to choose what to expect of it: nothing in it counts before it is verified. */
  readonly audiences: readonly string[];
  /**
   * As {@link verifyAccessToken}, at once, if its signature was verified before with a key that still counts; otherwise
   * undefined.
   *
   * @throws Refusal as {@link verifyAccessToken}
   */
  verifySeen(expected: TokenExpectation): AccessTokenClaims | undefined;
  /** As {@link verifyAccessToken}. */
  verify(expected: TokenExpectation): Promise<AccessTokenClaims>;
};

/** As {@link verifyAccessToken}, in one step or in two. */
export type TokenVerifier = typeof verifyAccessToken & {
  /**
   * Looks at a token that is yet to be verified.
   *
   * @throws Refusal TOKEN_INVALID {rule}: it has no right form, or its claims are not well-formed
   */
  show(token: string): ShownToken;
};

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
  const show = (token: string): ShownToken => {
    if (token.length > MAX_TOKEN_LENGTH) throw tokenInvalid("length");
    const digest = hash("sha256", token, "base64url");
    const remembered = known.get(digest);
    const { audiences } = remembered?.received ?? readClaims(parseCompactToken(token).payload);
    const verifySeen = (expected: TokenExpectation) => {
      if (remembered === undefined) return undefined;
      const key = findKey(remembered.keyId, expected);
      if (key === undefined || !equalBytes(key.publicKey, remembered.publicKey)) return undefined;
      return acceptClaims(remembered, expected);
    };
    return {
      audiences,
      verifySeen,
      async verify(expected) {
        const claims = verifySeen(expected);
        if (claims !== undefined) return claims;
        const authentic = await authenticate(token, expected);
        known.set(digest, authentic);
        return acceptClaims(authentic, expected);
      },
    };
  };
  const verify = async (token: string, expected: TokenExpectation) => {
    const shown = show(token);
    return shown.verifySeen(expected) ?? shown.verify(expected);
  };
  return Object.assign(verify, { show });
}
