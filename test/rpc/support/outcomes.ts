import { ConnectError } from "@connectrpc/connect";
import { expect } from "vitest";
import { Refusal } from "../../../src/core/refusal.ts";

/** What a promise that must reject rejects with. */
async function rejection(call: Promise<unknown>): Promise<unknown> {
  return call.then(
    () => expect.fail("the call succeeded"),
    (error: unknown) => error,
  );
}

/** The ConnectError of a call that must fail. */
export async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(ConnectError);
  return error as ConnectError;
}

/** The Refusal of a call that must fail. */
export async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(Refusal);
  return error as Refusal;
}

/** All messages of a stream. */
export async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

/** Does nothing: as the executor of a promise, one that never settles. */
export function never(): void {}
