import { expect, test } from "vitest";
import { AnswerCache } from "../../src/registry/answer-cache.ts";

const kind = {};

test("gives back what was kept, until one of its subjects changes", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set(kind, "a", 1, 10, ["x"]);
  cache.set(kind, "b", 2, 10, ["x", "y"]);
  cache.set(kind, "c", 3, 10, ["y"]);
  cache.drop("x");
  expect(["a", "b", "c"].map((key) => cache.get(kind, key))).toEqual([undefined, undefined, 3]);
  cache.drop("x");
  cache.drop("nothing");
  expect(cache.size).toBe(1);
});

test("a new value takes the place of the one before, and its subjects with it", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set(kind, "a", 1, 10, ["x"]);
  cache.set(kind, "a", 2, 10, ["y"]);
  cache.drop("x");
  expect(cache.get(kind, "a")).toBe(2);
  cache.drop("y");
  expect(cache.get(kind, "a")).toBeUndefined();
});

test("holds no more than it may, and keeps what is read", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set(kind, "often", 0, 1000, []);
  for (let i = 0; i < 1000; i++) {
    cache.set(kind, `once ${i}`, i, 1000, ["x"]);
    expect(cache.get(kind, "often")).toBe(0);
    expect(cache.size).toBeLessThanOrEqual(50);
  }
  expect(cache.size).toBeGreaterThan(40);
  cache.drop("x");
  expect(cache.size).toBe(1);
});

test("does not keep what is larger than all of it", () => {
  const cache = new AnswerCache<number>(100_000);
  cache.set(kind, "small", 1, 10, []);
  cache.set(kind, "huge", 2, 100_000, ["x"]);
  expect(cache.get(kind, "huge")).toBeUndefined();
  expect(cache.get(kind, "small")).toBe(1);
});

test("keys of different kinds have nothing to do with each other", () => {
  const cache = new AnswerCache<number>(100_000);
  const other = {};
  cache.set(kind, "a", 1, 10, ["x"]);
  cache.set(other, "a", 2, 10, ["y"]);
  cache.drop("x");
  expect(cache.get(kind, "a")).toBeUndefined();
  expect(cache.get(other, "a")).toBe(2);
});
