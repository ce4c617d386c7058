import {
  type ResolveNamespaceRequest,
  ResolveNamespaceRequestSchema,
} from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { namespaceAnswer, queryOf } from "../answers.ts";
import type { RegistryCore } from "../core.ts";

/** Reads a namespace. */
export function resolveNamespace(core: RegistryCore, request: ResolveNamespaceRequest) {
  return { answer: namespaceAnswer(core, request.namespace, queryOf(ResolveNamespaceRequestSchema, request)) };
}
