import type { DescMethodUnary } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createMethodImplSpec,
  createServiceImplSpec,
  type Interceptor,
  type MethodImplSpec,
} from "@connectrpc/connect";

/** A unary RPC as it was registered. */
export type UnaryRpc = {
  readonly method: DescMethodUnary;
  readonly impl: Extract<MethodImplSpec, { kind: "unary" }>["impl"];
  /** The outermost first. */
  readonly interceptors: readonly Interceptor[];
};

/**
 * A router that keeps the unary RPCs that are registered with it in `rpcs`, by their paths, so that they can be called without
 * connect. One that is registered with more than interceptors asks for what only connect knows.
 */
export function collectUnaryRpcs(router: ConnectRouter, rpcs: Map<string, UnaryRpc>): ConnectRouter {
  const collect = (spec: MethodImplSpec, { interceptors = [], ...more }: { interceptors?: Interceptor[] } = {}) => {
    if (spec.kind !== "unary") return;
    const path = `/${spec.method.parent.typeName}/${spec.method.name}`;
    if (Object.keys(more).length === 0) rpcs.set(path, { method: spec.method, impl: spec.impl, interceptors });
    else rpcs.delete(path);
  };
  const collecting: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, options) {
      router.service(service, implementation, options);
      for (const spec of Object.values(createServiceImplSpec(service, implementation).methods)) collect(spec, options);
      return collecting;
    },
    rpc(method, implementation, options) {
      router.rpc(method, implementation, options);
      collect(createMethodImplSpec(method, implementation), options);
      return collecting;
    },
  };
  return collecting;
}
