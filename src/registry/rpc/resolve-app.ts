import { type ResolveAppRequest, ResolveAppRequestSchema } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { checkAppRegistry } from "../accept.ts";
import { appAnswer, queryOf } from "../answers.ts";
import type { RegistryCore } from "../core.ts";

/** Reads an app with its Master key: the Identity Pulse. */
export function resolveApp(core: RegistryCore, request: ResolveAppRequest) {
  checkAppRegistry(core, request.appId);
  return { answer: appAnswer(core, request.appId, queryOf(ResolveAppRequestSchema, request)) };
}
