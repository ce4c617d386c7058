import type { ResolveAppRequest } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { checkAppRegistry } from "../accept.ts";
import { appFacts } from "../answers.ts";
import type { ReadCore } from "../core.ts";

/** Reads an app with its Master key: the Identity Pulse. */
export function resolveApp(core: ReadCore, request: ResolveAppRequest, now: number) {
  checkAppRegistry(core, request.appId);
  return appFacts(core, request.appId, now);
}
