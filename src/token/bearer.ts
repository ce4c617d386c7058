import { Reason, Refusal } from "../core/refusal.ts";

/**
 * The token in the headers of a call: `authorization: Bearer …` (RFC 6750 section 2.1).
 *
 * @throws Refusal TOKEN_MISSING
 */
export function bearerToken(headers: Pick<Headers, "get">): string {
  const token = BEARER.exec(headers.get("authorization") ?? "")?.[1];
  if (token === undefined) throw new Refusal(Reason.TOKEN_MISSING, "the call needs a bearer token");
  return token;
}

// The scheme's name is in any case (RFC 9110 section 11.1).
const BEARER = /^bearer +(\S+) *$/i;
