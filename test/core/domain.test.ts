import { describe, expect, test } from "vitest";
import { isAtOrBelow, isDomain } from "../../src/core/domain.ts";

describe("a domain", () => {
  test.each([
    "omiappreg.org",
    "article.cms.io",
    "a.bc",
    "1.2.3.com",
    "a-b.a--b",
    "xn--bcher-kva.example",
    "example.xn--p1ai",
    "example.a1",
    `${"a".repeat(63)}.com`,
    `${"a.".repeat(125)}abc`, // 253 characters
  ])("may be %j", (text) => {
    expect(isDomain(text)).toBe(true);
  });

  test.each([
    ["empty", ""],
    ["one label", "localhost"],
    ["upper case", "Example.com"],
    ["a trailing dot", "example.com."],
    ["a leading dot", ".example.com"],
    ["an empty label", "example..com"],
    ["a leading hyphen", "-a.com"],
    ["a trailing hyphen", "a-.com"],
    ["a trailing hyphen in the last label", "a.com-"],
    ["an underscore", "a_b.com"],
    ["white space", "a.com "],
    ["a line feed at the end", "a.com\n"],
    ["a port", "a.com:443"],
    ["a path", "a.com/"],
    ["a wildcard", "*.a.com"],
    ["a character beyond ASCII", "bücher.example"],
    ["a full-width dot", "a。com"],
    ["an IPv4 address", "127.0.0.1"],
    ["a short IPv4 address", "127.1"],
    ["a hexadecimal IPv4 address", "0x7f.0x1"],
    ["a number as last label", "example.123"],
    ["0x as last label", "example.0x"],
    ["an IPv6 address", "[::1]"],
    ["a label of 64 characters", `${"a".repeat(64)}.com`],
    ["254 characters", `${"a.".repeat(125)}abcd`],
  ])("may not be %s", (_, text) => {
    expect(isDomain(text)).toBe(false);
  });
});

test.each([
  ["articles.test", true],
  ["eu.articles.test", true],
  ["a.b.articles.test", true],
  ["myarticles.test", false],
  ["test", false],
  ["articles.test.evil.test", false],
])("%s is at or below articles.test: %s", (host, expected) => {
  expect(isAtOrBelow(host, "articles.test")).toBe(expected);
});
