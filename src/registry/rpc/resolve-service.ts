import {
  type ResolveServiceRequest,
  ResolveServiceRequestSchema,
} from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { checkAppRegistry } from "../accept.ts";
import { queryOf, serviceAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";

/** Reads one service of an app. */
export function resolveService(core: RegistryCore, request: ResolveServiceRequest) {
  checkAppRegistry(core, request.appId);
  return serviceAnswer(core, request.appId, request.serviceId, queryOf(ResolveServiceRequestSchema, request));
}
