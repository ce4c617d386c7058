import type { ResolveNamespaceRequest } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { namespaceFacts } from "../answers.ts";
import type { ReadCore } from "../core.ts";

/** Reads a namespace. */
export function resolveNamespace(core: ReadCore, request: ResolveNamespaceRequest) {
  return namespaceFacts(core, request.namespace);
}
