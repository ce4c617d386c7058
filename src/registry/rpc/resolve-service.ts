import type { ResolveServiceRequest } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { checkAppRegistry } from "../accept.ts";
import { serviceFacts } from "../answers.ts";
import type { ReadCore } from "../core.ts";

/** Reads one service of an app. */
export function resolveService(core: ReadCore, request: ResolveServiceRequest, now: number) {
  checkAppRegistry(core, request.appId);
  return serviceFacts(core, request.appId, request.serviceId, now);
}
