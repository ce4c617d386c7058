import { Reason, Refusal } from "../core/refusal.ts";

/**
 * What a refused token broke: `length`, `form` (parts, base64url), `header`, `alg`, `typ`, `kid` (no key that counts now
 * has this ID), `signature`, `json`, or the name of the claim.
 */
export const TOKEN_RULES = [
  "length",
  "form",
  "header",
  "alg",
  "typ",
  "kid",
  "signature",
  "json",
  "iss",
  "sub",
  "aud",
  "app_id",
  "client_id",
  "token_use",
  "iat",
  "nbf",
  "exp",
  "jti",
  "sid",
  "scope",
  "cnf",
] as const;

/** One of {@link TOKEN_RULES}. The contract lists them at REASON_TOKEN_INVALID. */
export type TokenRule = (typeof TOKEN_RULES)[number];

/** The Refusal of a token that breaks a rule, in the metadata `rule`. */
export function tokenInvalid(rule: TokenRule): Refusal {
  return new Refusal(Reason.TOKEN_INVALID, `the access token breaks the rule ${rule}`, { metadata: { rule } });
}
