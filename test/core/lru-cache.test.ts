import { expect, test } from "vitest";
import { LruCache } from "../../src/core/lru-cache.ts";

test("drops what was not used for the longest time", () => {
  const cache = new LruCache<string, number>(2);
  cache.set("a", 1);
  cache.set("b", 2);
  expect(cache.get("a")).toBe(1);
  cache.set("c", 3);
  expect(cache.get("b")).toBeUndefined();
  expect(cache.get("a")).toBe(1);
  expect(cache.get("c")).toBe(3);
});

test("replaces a value in place", () => {
  const cache = new LruCache<string, number>(2);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.set("a", 3);
  cache.set("c", 4);
  expect(cache.get("a")).toBe(3);
  expect(cache.get("b")).toBeUndefined();
});
