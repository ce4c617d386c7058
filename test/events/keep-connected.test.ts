import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { endedOrAborted } from "../../src/events/keep-connected.ts";

const never = new Promise<void>(() => {});

test("a connection that ends leaves nothing behind at the signal that would have ended it", async () => {
  const { signal } = new AbortController();
  await endedOrAborted([never, Promise.resolve()], signal);
  await expect(endedOrAborted([Promise.reject(new Error("lost"))], signal)).rejects.toThrow("lost");
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("a connection is left when the signal aborts, or has aborted before", async () => {
  const end = new AbortController();
  const left = endedOrAborted([never], end.signal);
  end.abort();
  await left;
  await endedOrAborted([never], end.signal);
  expect(getEventListeners(end.signal, "abort")).toEqual([]);
});
