/** The greatest length of a domain, in characters (RFC 1035 section 3.1: 255 bytes on the wire). */
export const MAX_DOMAIN_LENGTH = 253;

const MAX_LABEL_LENGTH = 63;

// Letters, digits and inner hyphens (RFC 952, RFC 1123 section 2.1), two labels or more.
const LABELS = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

// A last label that WHATWG URL parsers read as part of an IPv4 address: `1.2.3.4`, `1.2.3`, `a.0x7f`.
const NUMBER_AT_END = /\.(?:[0-9]+|0x[0-9a-f]*)$/;

/**
 * True for a domain as the mesh uses it for identities: lower-case ASCII, two labels or more, no port, no trailing dot,
 * no IP address. Internationalised names stand in their `xn--` form.
 */
export function isDomain(text: string): boolean {
  return (
    text.length <= MAX_DOMAIN_LENGTH &&
    LABELS.test(text) &&
    !NUMBER_AT_END.test(text) &&
    text.split(".").every((label) => label.length <= MAX_LABEL_LENGTH)
  );
}

/** True if `host` is `domain` or a subdomain of it. Both must be domains ({@link isDomain}). */
export function isAtOrBelow(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}
