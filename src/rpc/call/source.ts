import { isIPv6 } from "node:net";

/**
 * What of a caller's IP address is counted as one source: all of IPv4; the first 64 bits of IPv6, as that is the least that
 * a single customer gets, who could otherwise take a new address for every call.
 */
export function sourceOf(peer: string): string {
  const [address = ""] = peer.split("%", 1);
  if (!isIPv6(address)) return peer;
  const [head = "", tail] = address.split("::", 2);
  const front = groupsOf(head);
  const back = groupsOf(tail ?? "");
  const zeros = Array<string>(Math.max(GROUPS - front.length - back.length, 0)).fill("0");
  const groups = tail === undefined ? front : [...front, ...zeros, ...back];
  return `${groups
    .slice(0, GROUPS / 2)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}

/** An IPv6 address consists of eight groups of 16 bits. */
const GROUPS = 8;

function groupsOf(text: string): string[] {
  return text === "" ? [] : text.split(":");
}
