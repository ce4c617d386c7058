import { expect, test } from "vitest";
import { AnswerCache } from "../../src/registry/answer-cache.ts";

test("gives back what was kept, until one of its subjects changes", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set("a", 1, 10, ["x"]);
  cache.set("b", 2, 10, ["x", "y"]);
  cache.set("c", 3, 10, ["y"]);
  cache.drop("x");
  expect(["a", "b", "c"].map((key) => cache.get(key))).toEqual([undefined, undefined, 3]);
  cache.drop("x");
  cache.drop("nothing");
  expect(cache.size).toBe(1);
});

test("a new value takes the place of the one before, and its subjects with it", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set("a", 1, 10, ["x"]);
  cache.set("a", 2, 10, ["y"]);
  cache.drop("x");
  expect(cache.get("a")).toBe(2);
  cache.drop("y");
  expect(cache.get("a")).toBeUndefined();
});

test("holds no more than it may, and keeps what is read", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set("often", 0, 1000, []);
  for (let i = 0; i < 1000; i++) {
    cache.set(`once ${i}`, i, 1000, ["x"]);
    expect(cache.get("often")).toBe(0);
    expect(cache.size).toBeLessThanOrEqual(50);
  }
  expect(cache.size).toBeGreaterThan(40);
  cache.drop("x");
  expect(cache.size).toBe(1);
});

test("does not keep what is larger than all of it", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set("small", 1, 10, []);
  cache.set("huge", 2, 100_000, ["x"]);
  expect(cache.get("huge")).toBeUndefined();
  expect(cache.get("small")).toBe(1);
});
