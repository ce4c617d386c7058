import { isIPv4, isIPv6 } from "node:net";

/** For each proxy that a request passed, the first one first: whom it came from; undefined if that is no IP address. */
export type Hops = readonly (string | undefined)[];

/** What an `X-Forwarded-For` header says. */
export function hopsOfForwardedFor(header: string): Hops {
  return header.split(",").map((text) => addressOf(text.trim()));
}

/** What a `Forwarded` header (RFC 7239) says; undefined if it is malformed. */
export function hopsOfForwarded(header: string): Hops | undefined {
  const hops: (string | undefined)[] = [];
  let parameters = new Map<string, string>();
  // The last parameter is followed by the end, as if that were one more comma.
  for (const parameter of `${header},`.matchAll(PARAMETER)) {
    const [, name, token, quoted, separator] = parameter;
    if (separator === undefined) return;
    if (name !== undefined) {
      if (parameters.has(name.toLowerCase())) return;
      parameters.set(name.toLowerCase(), token ?? quoted?.replace(/\\(.)/g, "$1") ?? "");
    }
    if (separator === ";") continue;
    hops.push(addressOf(parameters.get("for") ?? ""));
    parameters = new Map();
  }
  return hops;
}

// One `name=value` or nothing, and what ends it. The second form matches where the first one can't: a mistake.
const PARAMETER = /[ \t]*(?:([\w!#$%&'*+.^`|~-]+)=(?:([\w!#$%&'*+.^`|~-]+)|"((?:[^"\\]|\\.)*)")[ \t]*)?([;,])|./gsy;

/** The address of a node: an IPv4 address or, in brackets or not, an IPv6 address, each with or without a port. */
function addressOf(node: string): string | undefined {
  const [, bracketed, ipv4 = ""] = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?$/i.exec(node) ?? [];
  if (isIPv4(ipv4)) return ipv4;
  const ipv6 = bracketed ?? node;
  return isIPv6(ipv6) && !ipv6.includes("%") ? ipv6.toLowerCase() : undefined;
}
