import type { ConnectRouter, Interceptor } from "@connectrpc/connect";

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
