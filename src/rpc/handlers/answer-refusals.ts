import type { Interceptor } from "@connectrpc/connect";
import { Refusal } from "../../core/refusal.ts";
import { callKey } from "../call/context.ts";
import { connectErrorOf, RemoteRefusal } from "../call/errors.ts";

/**
 * Lets a part be mounted on any Connect server: there, a Refusal becomes the error that `createServer` would make of it. On
 * a server of `createServer` it changes nothing, as that server does it itself, and logs it.
 */
export const answerRefusals: Interceptor = (next) => (request) => {
  const elsewhere = request.contextValues.get(callKey) === undefined;
  return elsewhere ? withoutRefusals(() => next(request)) : next(request);
};

async function withoutRefusals<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw error instanceof Refusal && !(error instanceof RemoteRefusal) ? connectErrorOf(error) : error;
  }
}
