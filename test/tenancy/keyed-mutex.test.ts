import { expect, test } from "vitest";
import { Reason } from "../../src/core/refusal.ts";
import { KeyedMutex } from "../../src/tenancy/keyed-mutex.ts";

test("work on one key is done one after the other, work on others beside it", async () => {
  const mutex = new KeyedMutex();
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const step = (name: string, until: Promise<void>) => async () => {
    log.push(`${name} begins`);
    await until;
    log.push(`${name} ends`);
  };
  const first = mutex.run("a", step("first", gate.promise));
  const second = mutex.run("a", step("second", Promise.resolve()));
  await mutex.run("b", step("other", Promise.resolve()));
  gate.resolve();
  await Promise.all([first, second]);
  expect(log).toEqual(["first begins", "other begins", "other ends", "first ends", "second begins", "second ends"]);
});

test("work that fails makes way for the next", async () => {
  const mutex = new KeyedMutex();
  const failing = mutex.run("a", async () => {
    throw new Error("failed");
  });
  const next = mutex.run("a", async () => "done");
  await expect(failing).rejects.toThrow("failed");
  expect(await next).toBe("done");
});

test("only so many wait for one key", async () => {
  const mutex = new KeyedMutex(1);
  const gate = Promise.withResolvers<void>();
  const running = mutex.run("a", () => gate.promise);
  const waiting = mutex.run("a", async () => {});
  await expect(mutex.run("a", async () => {})).rejects.toMatchObject({ reason: Reason.OVERLOADED });
  await mutex.run("b", async () => {});
  gate.resolve();
  await Promise.all([running, waiting]);
  await mutex.run("a", async () => {});
});
