import http2 from "node:http2";
import { describe, expect, test } from "vitest";
import { ConfigError } from "../../../src/core/config.ts";
import type { HttpRoute } from "../../../src/rpc/http/http-routes.ts";
import { createPeerFinder, isNetwork } from "../../../src/rpc/http/trusted-proxies.ts";
import { cleanUp, start } from "../support/start.ts";

const proxies = ["10.0.0.0/8", "192.0.2.1", "2001:db8:1::/48"];
const proxy = "10.0.0.1";
const user = "198.51.100.7";
const peerOf = createPeerFinder(proxies);

describe("what a trusted proxy says counts", () => {
  test.each([
    ["one proxy", user, user],
    ["several proxies, trusted", `${user}, 10.1.2.3,192.0.2.1`, user],
    ["what the caller made up", `203.0.113.9, ${user}`, user],
    ["what the caller made up, in the name of a proxy", `10.9.9.9, 203.0.113.9, ${user}`, user],
    ["nonsense of the caller's", `<script>,,, ${user}, 10.1.2.3`, user],
    ["a port", `${user}:4711`, user],
    ["IPv6", "2001:DB8:2::7", "2001:db8:2::7"],
    ["IPv6 in brackets, with a port", "[2001:db8:2::7]:4711", "2001:db8:2::7"],
    ["IPv4 in IPv6", `::ffff:${user}`, user],
    ["IPv6 proxies", `${user}, 2001:db8:1::5`, user],
    ["spaces and tabs", `\t203.0.113.9 ,\t ${user} `, user],
    ["a call of a proxy's own", "10.1.2.3, 10.1.2.4", "10.1.2.3"],
    ["a name", "localhost", proxy],
    ["nothing", "", proxy],
    ["nothing at the end", `${user},`, proxy],
    ["an unknown hop on the way", `${user}, unknown, 10.1.2.3`, proxy],
    ["octal numbers", "0198.051.0100.07", proxy],
    ["too many numbers", "198.51.100.7.1", proxy],
    ["a zone", "fe80::1%eth0", proxy],
    ["a port that is none", `${user}:x`, proxy],
  ])("X-Forwarded-For with %s: %j", (_, header, peer) => {
    expect(peerOf(proxy, { "x-forwarded-for": header })).toBe(peer);
  });

  test.each([
    ["one proxy", `for=${user}`, user],
    ["other parameters", `by=10.0.0.1;For=${user};proto=https;host="a.test"`, user],
    ["several proxies, trusted", `for=${user};proto=https, for=10.1.2.3 , for="192.0.2.1:80"`, user],
    ["what the caller made up", `for=203.0.113.9, for=${user}`, user],
    ["a port", `for="${user}:4711"`, user],
    ["IPv6", 'for="[2001:db8:2::7]:4711"', "2001:db8:2::7"],
    ["an escape", `for="19\\8.51.100.7"`, user],
    ["a quoted comma", `for=203.0.113.9;host="a,b;c", for=${user}`, user],
    ["a hidden caller", "for=_secret", proxy],
    ["an unknown caller", "for=unknown", proxy],
    ["no caller", "proto=https", proxy],
    ["two callers", `for=203.0.113.9;for=${user}`, proxy],
    ["a quote that the caller left open", `for="203.0.113.9, for=${user}`, proxy],
    ["a quote that the caller left open and a proxy closed", `for="x, for="[2001:db8:2::7]"`, proxy],
    ["no name", `=${user}`, proxy],
    ["an address alone", user, proxy],
    ["IPv6 without quotes", "for=[2001:db8:2::7]", proxy],
    ["nothing", "", proxy],
  ])("Forwarded with %s: %j", (_, header, peer) => {
    expect(peerOf(proxy, { forwarded: header })).toBe(peer);
  });

  test("both headers only if they agree: the caller may have written one of them", () => {
    const agreed = { forwarded: `for=${user}`, "x-forwarded-for": user };
    expect(peerOf(proxy, agreed)).toBe(user);
    expect(peerOf(proxy, { ...agreed, forwarded: "for=203.0.113.9" })).toBe(proxy);
    expect(peerOf(proxy, { ...agreed, forwarded: "nonsense" })).toBe(proxy);
    expect(peerOf(proxy, { ...agreed, "x-forwarded-for": "nonsense" })).toBe(proxy);
  });

  test("from an IPv4 proxy on an IPv6 socket, too", () => {
    expect(peerOf(`::ffff:${proxy}`, { "x-forwarded-for": user })).toBe(user);
  });
});

test("what anybody else says does not count", () => {
  const headers = { "x-forwarded-for": user, forwarded: `for=${user}` };
  for (const peer of ["11.0.0.1", "192.0.2.2", "2001:db8:2::1"]) expect(peerOf(peer, headers)).toBe(peer);
  expect(createPeerFinder([])(proxy, headers)).toBe(proxy);
  expect(peerOf(undefined, headers)).toBe("");
});

test("a long header takes no long time", () => {
  for (const filler of [" ", "\t", "a", ",", '"', "\\", ";", "for=", 'for="', "for=1;"]) {
    const header = filler.repeat(65_536);
    expect(peerOf(proxy, { forwarded: `${header}x`, "x-forwarded-for": `x${header}x` })).toBe(proxy);
  }
});

test.each(["10.0.0.0/8", "0.0.0.0/0", "10.0.0.7", "::1", "2001:db8::/32", "::ffff:10.0.0.0/104"])(
  "%s is a network",
  (text) => expect(isNetwork(text)).toBe(true),
);

test.each(["", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "::/129", "fe80::1%eth0/64", "proxy.test", "*"])(
  "%j is no network",
  (text) => {
    expect(isNetwork(text)).toBe(false);
    expect(() => createPeerFinder([text])).toThrow(ConfigError);
  },
);

describe("a server", () => {
  const httpRoutes: HttpRoute[] = [
    { method: "GET", path: "/peer", handler: ({ context }) => ({ headers: {}, body: context.peer }) },
  ];
  const headers = { "x-forwarded-for": `203.0.113.9, ${user}` };

  async function overHttp2(url: string): Promise<string> {
    const session = http2.connect(url);
    cleanUp(() => session.destroy());
    const stream = session.request({ ":path": "/peer", ...headers });
    let body = "";
    for await (const chunk of stream) body += chunk;
    return body;
  }

  test.each([
    ["behind a trusted proxy", ["127.0.0.0/8"], user],
    ["behind none", [], "127.0.0.1"],
    ["behind another one", ["10.0.0.0/8"], "127.0.0.1"],
  ])("%s, over HTTP/1.1 and HTTP/2", async (_, trustedProxies, peer) => {
    const { url, log } = await start({}, { httpRoutes, trustedProxies });
    expect(await (await fetch(`${url}/peer`, { headers })).text()).toBe(peer);
    expect(await overHttp2(url)).toBe(peer);
    expect(log.map((line) => line.peer).filter((logged) => logged !== undefined)).toEqual([peer, peer]);
  });
});
