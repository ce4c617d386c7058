import { expect, test } from "vitest";
import { generatedSource } from "../../../src/rpc/ready/generated-source.ts";
import type { MessageSource } from "../../../src/rpc/ready/ready-streams.ts";

const one = Uint8Array.of(1);
const two = Uint8Array.of(2);

/** What a stream does with a source until it ends: asks, and waits to be woken where there is nothing. */
async function readAll(start: (wake: () => void) => MessageSource): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  let wake = () => {};
  const source = start(() => wake());
  for (;;) {
    const next = source.next();
    if (next === "end") return frames;
    if (next !== "later") frames.push(next);
    else
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  }
}

test("gives what the generator yields, in order, and its end", async () => {
  const frames = await readAll((wake) =>
    generatedSource(async function* () {
      yield one;
      await Promise.resolve();
      yield two;
    }, wake),
  );
  expect(frames).toEqual([one, two]);
});

test("throws what the generator throws, behind what it yielded", async () => {
  let given = 0;
  const reading = readAll((wake) =>
    generatedSource(async function* () {
      given++;
      yield one;
      throw new RangeError("a mistake");
    }, wake),
  );
  await expect(reading).rejects.toThrow(RangeError);
  expect(given).toBe(1);
});

test("asks the generator for nothing before the stream takes it", async () => {
  let yielded = 0;
  let woken = () => {};
  const source = generatedSource(
    async function* () {
      for (;;) {
        yielded++;
        yield one;
      }
    },
    () => woken(),
  );
  expect(yielded).toBe(0);
  const ready = new Promise<void>((resolve) => {
    woken = resolve;
  });
  expect(source.next()).toBe("later");
  await ready;
  expect(source.next()).toBe(one);
  expect(yielded).toBe(1);
  source.close();
});

test("ends the generator with the stream, also while it waits", async () => {
  const left = new Promise<void>((resolve) => {
    const source = generatedSource(
      async function* (signal) {
        try {
          await new Promise((aborted) => signal.addEventListener("abort", aborted, { once: true }));
        } finally {
          resolve();
        }
        yield one;
      },
      () => {},
    );
    source.next();
    source.close();
  });
  await left;
});
