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
  const isBearer = credentials.slice(0, SCHEME.length).toLowerCase() === SCHEME;
  const token = isBearer ? withoutSpaces(credentials.slice(SCHEME.length)) : "";
  if (token === "") throw new Refusal(Reason.TOKEN_MISSING, "the call needs a bearer token");
  return token;
}

const SCHEME = "bearer ";

/** Without the spaces around it; any other space is part of it, and makes it malformed. */
function withoutSpaces(text: string): string {
  let [start, end] = [0, text.length];
  while (text[start] === " ") start++;
  while (end > start && text[end - 1] === " ") end--;
  return text.slice(start, end);
}
