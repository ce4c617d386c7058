import { Reason, Refusal } from "../core/refusal.ts";

/**
 * The token in the headers of a call: `authorization: Bearer …` (RFC 6750 section 2.1).
 *
 * @throws Refusal TOKEN_MISSING
 */
export function bearerToken(headers: Pick<Headers, "get">): string {
  const credentials = headers.get("authorization") ?? "";
  // The scheme's name is in any case (RFC 9110 section 11.1). What the token consists of is for those to see who take it apart:
  // one that was seen before is not looked at character by character again.
  const token = credentials.slice(SCHEME.length).trim();
  if (token === "" || credentials.slice(0, SCHEME.length).toLowerCase() !== SCHEME) {
    throw new Refusal(Reason.TOKEN_MISSING, "the call needs a bearer token");
  }
  return token;
}

const SCHEME = "bearer ";
