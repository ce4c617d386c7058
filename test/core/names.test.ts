import { describe, expect, test } from "vitest";
import {
  foldName,
  isName,
  isNamespace,
  isReservedNamespace,
  isReservedServiceId,
  isReservedSlug,
} from "../../src/core/names.ts";

describe("the alphabet", () => {
  test.each(["ab", "a1", "alice", "business_app", "my-shop", "a_b-c_9", "x2y"])("allows %j", (text) => {
    expect(isName(text)).toBe(true);
    expect(isNamespace(text)).toBe(true);
  });

  test.each([
    "",
    "a",
    "1a",
    "Alice",
    "-ab",
    "ab-",
    "_ab",
    "ab_",
    "a--b",
    "a__b",
    "a-_b",
    "a.b",
    "a b",
    "ab\n",
    "älice",
    "аlice", // a Cyrillic first letter
    "a/b",
    "a*",
    "a>",
  ])("refuses %j", (text) => {
    expect(isName(text)).toBe(false);
    expect(isNamespace(text)).toBe(false);
  });

  test("bounds namespaces at 32 and names at 63 characters", () => {
    expect(isNamespace("a".repeat(32))).toBe(true);
    expect(isNamespace("a".repeat(33))).toBe(false);
    expect(isName("a".repeat(63))).toBe(true);
    expect(isName("a".repeat(64))).toBe(false);
  });

  test("is decided in linear time", () => {
    expect(isName("a".repeat(1_000_000))).toBe(false);
    expect(isName(`${"a-".repeat(31)}`)).toBe(false);
  });
});

test("names that differ in - and _ alone fold to the same", () => {
  expect(foldName("my_shop-two_")).toBe(foldName("my-shop_two-"));
  expect(foldName("myshop")).not.toBe(foldName("my-shop"));
});

test("reserved words are found in every spelling", () => {
  expect(isReservedNamespace("omi")).toBe(true);
  expect(isReservedNamespace("registry")).toBe(true);
  expect(isReservedNamespace("www")).toBe(true);
  expect(isReservedNamespace("service_registry")).toBe(true);
  expect(isReservedNamespace("service-registry")).toBe(true);
  expect(isReservedNamespace("alice")).toBe(false);
  expect(isReservedSlug("omi")).toBe(true);
  expect(isReservedSlug("billing")).toBe(false);
});

test("auth is reserved among service IDs alone", () => {
  expect(isReservedServiceId("auth")).toBe(true);
  expect(isReservedServiceId("auth-2")).toBe(false);
  expect(isReservedServiceId("registry")).toBe(false);
});
