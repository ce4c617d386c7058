import type { IncomingHttpHeaders } from "node:http";
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";
import { ConfigError } from "../../core/config.ts";
import { type Hops, hopsOfForwarded, hopsOfForwardedFor } from "./forwarded.ts";

/** Where a request comes from, as {@link RequestContext.peer}. */
export type PeerFinder = (remoteAddress: string | undefined, headers: IncomingHttpHeaders) => string;

/** True for an IP address or a network in CIDR form, e.g. `10.0.0.7`, `10.0.0.0/8` or `2001:db8::/32`. */
export function isNetwork(text: string): boolean {
  return networkOf(text) !== undefined;
}

/**
 * Makes the function that tells where requests come from. That is the other end of the connection, unless this is one of
 * `trustedProxies`: then it is the last address in what the proxies say (`Forwarded`, `X-Forwarded-For`) that is no
 * trusted proxy itself. What stands before it may be the caller's own invention, and is not looked at.
 *
 * It is the proxy's own address if there is no such header or it is malformed. Also if there are both headers and they
 * disagree: then one of them went through the proxy as the caller wrote it, and which one is not known.
 *
 * @param trustedProxies - addresses and networks, see {@link isNetwork}
 * @throws ConfigError if one of them is neither
 */
export function createPeerFinder(trustedProxies: readonly string[]): PeerFinder {
  if (trustedProxies.length === 0) return unmapped;
  const trusted = new BlockList();
  const mistakes = [];
  for (const [index, text] of trustedProxies.entries()) {
    const network = networkOf(text);
    if (network !== undefined) trusted.addSubnet(network.address, network.prefix, familyOf(network.address));
    else mistakes.push({ path: `trustedProxies.${index}`, expected: "an IP address or a network, e.g. 10.0.0.0/8" });
  }
  if (mistakes.length > 0) throw new ConfigError(mistakes);

  const isTrusted = (address: string) => isIP(address) !== 0 && trusted.check(address, familyOf(address));
  const sourceIn = (hops: Hops | undefined) => {
    const source = hops?.findLast((hop) => hop === undefined || !isTrusted(hop));
    // All are trusted: the first proxy has asked something itself.
    return source ?? (hops?.includes(undefined) === false ? hops[0] : undefined);
  };

  return (remoteAddress, headers) => {
    const peer = unmapped(remoteAddress);
    if (!isTrusted(peer)) return peer;
    const { forwarded, "x-forwarded-for": forwardedFor } = headers;
    const sources = new Set<string | undefined>();
    if (forwarded !== undefined) sources.add(sourceIn(hopsOfForwarded(forwarded)));
    if (forwardedFor !== undefined) sources.add(sourceIn(hopsOfForwardedFor(String(forwardedFor))));
    const [source] = sources;
    return sources.size === 1 && source !== undefined ? unmapped(source) : peer;
  };
}

/** An address of Node's, with IPv4 in its own form; empty for a connection that is no more. */
function unmapped(remoteAddress: string | undefined): string {
  return remoteAddress?.replace(/^::ffff:(?=\d+\.)/, "") ?? "";
}

function networkOf(text: string): { address: string; prefix: number } | undefined {
  const [, address = "", digits] = /^([0-9a-f:.]+)(?:\/([0-9]{1,3}))?$/i.exec(text) ?? [];
  const longest = isIPv4(address) ? 32 : isIPv6(address) ? 128 : -1;
  const prefix = digits === undefined ? longest : Number(digits);
  return prefix >= 0 && prefix <= longest ? { address, prefix } : undefined;
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv4(address) ? "ipv4" : "ipv6";
}
