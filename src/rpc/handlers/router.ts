import type { ConnectRouter, Interceptor } from "@connectrpc/connect";
import { Refusal } from "../../core/refusal.ts";
import { callKey } from "../call/context.ts";
import { connectErrorOf, RemoteRefusal } from "../call/errors.ts";

/**
 * A router that runs `outer` interceptors around those that a service is registered with. (To connect, interceptors of a
 * service replace those of the router.)
 */
export function routerWithin(router: ConnectRouter, outer: readonly Interceptor[]): ConnectRouter {
  const within = <Options extends { interceptors?: Interceptor[] }>(options: Options | undefined) =>
    ({ ...options, interceptors: [...outer, ...(options?.interceptors ?? [])] }) as Options;
  const wrapped: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, options) {
      router.service(service, implementation, within(options));
      return wrapped;
    },
    rpc(method, implementation, options) {
      router.rpc(method, implementation, within(options));
      return wrapped;
    },
  };
  return wrapped;
}

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
