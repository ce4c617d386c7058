import { describe, expect, test } from "vitest";
import { MAX_URL_LENGTH, parseUrl } from "../../src/core/url.ts";

describe("a stranger's URL", () => {
  test.each([
    ["https://a.test", { url: "https://a.test", host: "a.test", port: 443, secure: true }],
    ["https://a.test/", { url: "https://a.test", host: "a.test", port: 443, secure: true }],
    ["https://a.b.test:8443", { url: "https://a.b.test:8443", host: "a.b.test", port: 8443, secure: true }],
    ["https://a.test/v1/apps", { url: "https://a.test/v1/apps", host: "a.test", port: 443, secure: true }],
    ["https://a.test/v1/", { url: "https://a.test/v1", host: "a.test", port: 443, secure: true }],
    ["https://a.test/%C3%A4/~x", { url: "https://a.test/%C3%A4/~x", host: "a.test", port: 443, secure: true }],
  ])("may be %s", (text, expected) => {
    expect(parseUrl(text)).toEqual(expected);
  });

  test.each([
    ["nothing", ""],
    ["relative", "/v1"],
    ["without scheme", "a.test"],
    ["plain http", "http://a.test"],
    ["another scheme", "ftp://a.test"],
    ["a scheme in upper case", "HTTPS://a.test"],
    ["a host in upper case", "https://A.test"],
    ["a host beyond ASCII", "https://ä.test"],
    ["a host with an escape", "https://%61.test"],
    ["a host of one label", "https://localhost"],
    ["a host with a trailing dot", "https://a.test."],
    ["an IPv4 address", "https://127.0.0.1"],
    ["an IPv4 address as a number", "https://2130706433"],
    ["a hexadecimal IPv4 address", "https://0x7f.1"],
    ["an IPv6 address", "https://[::1]"],
    ["a user name", "https://user@a.test"],
    ["a user name and password", "https://user:secret@a.test"],
    ["an empty user name", "https://@a.test"],
    ["a host hidden behind a user name", "https://a.test@evil.test"],
    ["a host hidden behind a backslash", "https://evil.test\\@a.test"],
    ["a query", "https://a.test/?x=1"],
    ["an empty query", "https://a.test/?"],
    ["a fragment", "https://a.test/#x"],
    ["an empty fragment", "https://a.test/#"],
    ["the default port", "https://a.test:443"],
    ["an empty port", "https://a.test:"],
    ["port 0", "https://a.test:0"],
    ["a port with a zero before it", "https://a.test:08443"],
    ["a port that is too high", "https://a.test:65536"],
    ["a parent folder", "https://a.test/a/../b"],
    ["a parent folder with escapes", "https://a.test/a/%2E%2E/b"],
    ["an empty path segment", "https://a.test//b"],
    ["two slashes at the end", "https://a.test/b//"],
    ["a backslash", "https://a.test\\b"],
    ["three slashes", "https:///a.test"],
    ["half an escape", "https://a.test/%4"],
    ["an escape in lower case", "https://a.test/%c3%a4"],
    ["a character to be escaped", "https://a.test/a b"],
    ["a quote", 'https://a.test/"'],
    ["white space in front", " https://a.test"],
    ["a line feed behind", "https://a.test\n"],
    ["a tab inside", "https://a.te\tst"],
    ["a label that is no IDNA", "https://xn--.test"],
  ])("may not be %s", (_, text) => {
    expect(parseUrl(text)).toBeUndefined();
  });

  test("has at most 2048 characters", () => {
    const longest = `https://a.test/${"x".repeat(MAX_URL_LENGTH - 15)}`;
    expect(parseUrl(longest)?.url).toBe(longest);
    expect(parseUrl(`${longest}x`)).toBeUndefined();
  });

  test("may have plain http where the host is allowed to", () => {
    const allowPlain = (host: string) => host === "a.test";
    expect(parseUrl("http://a.test", allowPlain)).toEqual({
      url: "http://a.test",
      host: "a.test",
      port: 80,
      secure: false,
    });
    expect(parseUrl("http://a.test:8080", allowPlain)?.port).toBe(8080);
    expect(parseUrl("http://b.test", allowPlain)).toBeUndefined();
    expect(parseUrl("https://b.test", allowPlain)?.secure).toBe(true);
  });
});
