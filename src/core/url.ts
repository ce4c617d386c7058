import { isDomain } from "./domain.ts";

/** The greatest length of a URL, in characters. */
export const MAX_URL_LENGTH = 2048;

/** A URL that passed {@link parseUrl}. */
export type ParsedUrl = {
  /** The URL without trailing slash, ready to be the base of a path. */
  readonly url: string;
  /** The host, a domain. */
  readonly host: string;
  /** The port, the scheme's default included. */
  readonly port: number;
  /** True for https, false for plain http. */
  readonly secure: boolean;
};

// Scheme, authority, and a path without empty segments, of the characters of RFC 3986 section 3.3 and whole escapes.
// Everything that could hide a user name, a query or a fragment fails here, before any lenient parser sees the text.
const FORM = /^https?:\/\/[a-z0-9.-]+(?::[0-9]{1,5})?(?:\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-F]{2})+)*\/?$/;

/**
 * Parses a URL that a stranger chose, strictly: absolute, https, a domain as host, no user info, query or fragment, and
 * written as the WHATWG URL standard serialises it (with or without the slash at the end), so that one URL has one
 * spelling. Plain http passes only for hosts that `allowPlain` names.
 *
 * This judges the text alone. Whether the address behind the host may be dialled is decided when it is dialled.
 *
 * @returns undefined for any other text
 */
export function parseUrl(text: string, allowPlain: (host: string) => boolean = never): ParsedUrl | undefined {
  if (text.length > MAX_URL_LENGTH || !FORM.test(text) || !URL.canParse(text)) return undefined;
  const { protocol, hostname, port, href } = new URL(text);
  if (href !== text && href !== `${text}/`) return undefined;
  if (!isDomain(hostname)) return undefined;
  const secure = protocol === "https:";
  if (!secure && !allowPlain(hostname)) return undefined;
  if (port === "0") return undefined;
  return {
    url: text.endsWith("/") ? text.slice(0, -1) : text,
    host: hostname,
    port: port === "" ? (secure ? 443 : 80) : Number(port),
    secure,
  };
}

function never(): boolean {
  return false;
}
