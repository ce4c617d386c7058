import { isDomain } from "./domain.ts";

/** The greatest length of an e-mail address, in characters (RFC 5321 section 4.5.3.1.3, less the angle brackets). */
const MAX_EMAIL_LENGTH = 254;

// An unquoted local part (RFC 5322 atext and dots) and whatever stands behind the only `@`.
const ADDRESS = /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([^@]+)$/;

/**
 * True for an e-mail address that a mail program takes without quoting: ASCII, one `@`, a domain of two labels or more in
 * any case. Whether mail arrives there only a sent code tells.
 */
export function isEmail(text: string): boolean {
  if (text.length > MAX_EMAIL_LENGTH) return false;
  const domain = ADDRESS.exec(text)?.[1];
  return domain !== undefined && isDomain(domain.toLowerCase());
}
