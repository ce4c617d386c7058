import { LruCache } from "../core/lru-cache.ts";
import {
  type AcceptedToken,
  type AuthenticToken,
  acceptToken,
  authenticate,
  isStillAuthentic,
  type TokenExpectation,
  type verifyAccessToken,
} from "./access-token.ts";
import { readClaims } from "./claims.ts";
import { MAX_TOKEN_LENGTH, parseCompactToken } from "./compact.ts";
import { tokenInvalid } from "./token-invalid.ts";

/** A token as somebody shows it; the same object each time, once it was verified and as long as it is remembered. */
export type ShownToken<Conclusion> = {
  /** For whom it says that it is. Only to choose what to expect of it: nothing in it counts before it is verified. */
  readonly audiences: readonly string[];
  /** What the receiver concluded from it. Whether that still holds is for the receiver to see. */
  conclusion: Conclusion | undefined;
  /** As {@link verifyAccessToken}. */
  verify(expected: TokenExpectation): Promise<AcceptedToken>;
};

/** As {@link verifyAccessToken}, in one step or in two. */
export type TokenVerifier<Conclusion> = typeof verifyAccessToken & {
  /**
   * Looks at a token that is yet to be verified.
   *
   * @throws Refusal TOKEN_INVALID {rule}: it has no right form, or its claims are not well-formed
   */
  show(token: string): ShownToken<Conclusion>;
};

const DEFAULT_CAPACITY = 10_000;

/** How much of the end of a token is its name here: 128 bits of its signature, about which nobody has a choice. */
const NAME_LENGTH = 22;

/**
 * A {@link verifyAccessToken} that doesn't verify the same signature twice. A client shows its token with every call, and
 * the signature is by far the dearest part of the check.
 *
 * Nothing but the signature and the form is remembered: that the key still counts, the expiry, the issuer, the audience
 * and the use are checked each time, so a revoked key ends its tokens at once. What a receiver concluded beyond that, it may
 * hang on the token.
 *
 * A token is found by the end of its signature, and then it is the one that was verified if all of its text is the same:
 * both together take a third of the time of a digest. Strangers can't fill the table, as only verified tokens get into it.
 * Nor does the time that a look-up takes tell them a token: texts are compared only where the ends are the same, which are
 * found by a hash that has a secret of this process in it. See decision 18.
 *
 * @param options.capacity the most tokens that are remembered, about two kilobytes each, and six if they are as long as tokens
 *   may be; those that were not shown for the longest time are forgotten first
 */
export function createTokenVerifier<Conclusion = never>(
  options: { capacity?: number } = {},
): TokenVerifier<Conclusion> {
  const known = new LruCache<string, Shown<Conclusion>>(options.capacity ?? DEFAULT_CAPACITY);
  const show = (token: string) => {
    const seen = known.get(nameOf(token));
    return seen?.text === token ? seen : new Shown(token, known);
  };
  const verify = async (token: string, expected: TokenExpectation) => (await show(token).verify(expected)).claims;
  return Object.assign(verify, { show });
}

class Shown<Conclusion> implements ShownToken<Conclusion> {
  readonly text: string;
  readonly #known: LruCache<string, Shown<Conclusion>>;
  readonly audiences: readonly string[];
  #authentic: AuthenticToken | undefined;
  conclusion: Conclusion | undefined;

  constructor(text: string, known: LruCache<string, Shown<Conclusion>>) {
    if (text.length > MAX_TOKEN_LENGTH) throw tokenInvalid("length");
    this.audiences = readClaims(parseCompactToken(text).payload).audiences;
    // A text of its own: one that was cut out of another one keeps all of that in memory.
    this.text = Buffer.from(text, "latin1").toString("latin1");
    this.#known = known;
  }

  async verify(expected: TokenExpectation): Promise<AcceptedToken> {
    let authentic = this.#authentic;
    if (authentic === undefined || !isStillAuthentic(authentic, expected)) {
      authentic = await authenticate(this.text, expected);
      this.#authentic = authentic;
      this.#known.set(nameOf(this.text), this);
    }
    return acceptToken(authentic, expected);
  }
}

function nameOf(token: string): string {
  return token.slice(-NAME_LENGTH);
}
