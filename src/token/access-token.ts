import { type KeyRecord, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { equalBytes, utf8 } from "../core/bytes.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { type SigningKey, verify } from "../statement/crypto.ts";
import { type AccessTokenClaims, type ReceivedClaims, readClaims, type TokenUse } from "./claims.ts";
import { type CompactToken, formatCompactToken, parseCompactToken } from "./compact.ts";
import { tokenInvalid } from "./token-invalid.ts";

/** How far the issuer's clock may be ahead of the receiver's, in seconds. */
const CLOCK_SKEW_SECONDS = 30;

/** What a receiver demands of a token. All of it comes from what it trusts already, nothing from the token. */
export type TokenExpectation = {
  /** The Auth keys of the app, from a verified answer of its registry. */
  readonly keys: readonly KeyRecord[];
  /** The app's `auth_provider_url`. */
  readonly issuer: string;
  /** The receiver: `<app_id>/<service_id>`. */
  readonly audience: string;
  /** Whom the token must speak for. */
  readonly use: TokenUse;
  /** The time in Unix seconds. */
  readonly now: number;
};

/** A token whose signature was verified, and with which key; not yet held against a receiver's expectation. */
export type AuthenticToken = {
  readonly keyId: string;
  readonly publicKey: Uint8Array;
  readonly received: ReceivedClaims;
  /** What it says to each of its audiences. */
  readonly claims: readonly AccessTokenClaims[];
};

/** What a receiver takes from a token, and when. */
export type AcceptedToken = {
  readonly claims: AccessTokenClaims;
  /** From when on it is accepted, by the receiver's clock, in Unix seconds. */
  readonly from: number;
  /** Until when, exclusive, as long as the receiver expects the same. */
  readonly until: number;
};

/**
 * Signs an access token (RFC 9068): a JWT with `alg` EdDSA, `typ` at+jwt and `kid`. The token is a secret until it expires.
 *
 * @param key the app's Auth key
 */
export function signAccessToken(claims: AccessTokenClaims, key: SigningKey): string {
  return formatCompactToken(key.keyId, utf8(JSON.stringify(claims)), key.sign);
}

/**
 * Verifies an access token by RFC 9068 section 4 and the rules of RFC 8725: form, key, signature, and only then what it
 * says.
 *
 * @returns its claims, `aud` being the expected audience
 * @throws Refusal TOKEN_INVALID {rule} or TOKEN_EXPIRED
 */
export async function verifyAccessToken(token: string, expected: TokenExpectation): Promise<AccessTokenClaims> {
  return acceptToken(await authenticate(token, expected), expected).claims;
}

/**
 * The part of {@link verifyAccessToken} that doesn't depend on the receiver: form, signature, well-formed claims.
 *
 * @throws Refusal TOKEN_INVALID {rule}
 */
export async function authenticate(
  token: string,
  { keys, now }: Pick<TokenExpectation, "keys" | "now">,
): Promise<AuthenticToken> {
  const parsed: CompactToken = parseCompactToken(token);
  const key = findKey(parsed.keyId, { keys, now });
  if (key === undefined) throw tokenInvalid("kid");
  const { publicKey } = key;
  if (!(await verify(publicKey, parsed.signingInput, parsed.signature))) throw tokenInvalid("signature");
  const received = readClaims(parsed.payload);
  const { audiences, nbf, ...common } = received;
  const claims = audiences.map((aud) => Object.freeze({ ...common, aud }));
  return { keyId: parsed.keyId, publicKey, received, claims };
}

/** The key with this ID, if it counts now: the active one always, one in grace until its `not_after`. */
function findKey(keyId: string, { keys, now }: Pick<TokenExpectation, "keys" | "now">): KeyRecord | undefined {
  const key = keys.find((candidate) => candidate.keyId === keyId);
  return key !== undefined && keyCounts(key, now) ? key : undefined;
}

/** True if the key that a token was verified with is the receiver's key of this ID, and counts now. */
export function isStillAuthentic(
  { keyId, publicKey }: AuthenticToken,
  expected: Pick<TokenExpectation, "keys" | "now">,
): boolean {
  const key = findKey(keyId, expected);
  return key !== undefined && equalBytes(key.publicKey, publicKey);
}

/**
 * The part of {@link verifyAccessToken} that depends on the receiver and the time.
 *
 * @throws Refusal TOKEN_INVALID {rule} or TOKEN_EXPIRED
 */
export function acceptToken(token: AuthenticToken, expected: TokenExpectation): AcceptedToken {
  const { received } = token;
  const key = findKey(token.keyId, expected);
  if (key === undefined) throw tokenInvalid("kid");
  const { issuer, audience, use, now } = expected;
  if (received.iss !== issuer) throw tokenInvalid("iss");
  const claims = token.claims.find(({ aud }) => aud === audience);
  if (claims === undefined) throw tokenInvalid("aud");
  // An AppID holds no slash, so this compares the whole app part of the audience.
  if (!audience.startsWith(`${claims.app_id}/`)) throw tokenInvalid("app_id");
  if (claims.token_use !== use) throw tokenInvalid("token_use");
  if (claims.iat > now + CLOCK_SKEW_SECONDS) throw tokenInvalid("iat");
  if (received.nbf > now + CLOCK_SKEW_SECONDS) throw tokenInvalid("nbf");
  if (claims.exp <= now) {
    throw new Refusal(Reason.TOKEN_EXPIRED, "the access token has expired");
  }
  return {
    claims,
    from: Math.max(claims.iat, received.nbf) - CLOCK_SKEW_SECONDS,
    until: key.status === KeyStatus.ACTIVE ? claims.exp : Math.min(claims.exp, Number(key.notAfter)),
  };
}

/**
 * True for the active key, and for one in grace before its `not_after`.
 *
 * @param now Unix seconds
 */
export function keyCounts(key: KeyRecord, now: number): boolean {
  if (key.status === KeyStatus.ACTIVE) return true;
  return key.status === KeyStatus.GRACE && BigInt(now) < key.notAfter;
}
