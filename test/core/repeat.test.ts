import { expect, test } from "vitest";
import { repeat } from "../../src/core/repeat.ts";
import { FakeClock } from "../support/clock.ts";

/** Lets promises that are settled run on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("work is repeated after it was done, a quarter more or less often, until it is stopped", async () => {
  const clock = new FakeClock();
  let done = 0;
  let byte = 0;
  const random = () => Uint8Array.of(byte);
  const work = async () => {
    done++;
  };
  const repeated = repeat(work, { everyMs: 1000, clock, random });
  clock.advance(0.749);
  expect(done).toBe(0);
  byte = 255;
  clock.advance(0.001);
  expect(done).toBe(1);
  await settle();
  clock.advance(1.248);
  expect(done).toBe(1);
  clock.advance(0.001);
  expect(done).toBe(2);
  await repeated.stop();
  clock.advance(10);
  expect(done).toBe(2);
});

test("stopping waits for the work that is being done", async () => {
  const clock = new FakeClock();
  const gate = Promise.withResolvers<void>();
  let stopped = false;
  const repeated = repeat(() => gate.promise, { everyMs: 1000, clock, random: () => Uint8Array.of(0) });
  clock.advance(1);
  const stopping = repeated.stop().then(() => {
    stopped = true;
  });
  await settle();
  expect(stopped).toBe(false);
  gate.resolve();
  await stopping;
});
