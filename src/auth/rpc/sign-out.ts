import type { ServiceImpl } from "@connectrpc/connect";
import type { UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { tenantUnknown } from "../../tenancy/tenants.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { endSession } from "../end-session.ts";

/** `UserService.SignOut`. */
export function signOut(core: AuthCore): ServiceImpl<typeof UserService>["signOut"] {
  const { tenancy, sessionHub, writes } = core;
  return async ({ appId, refreshToken }) => {
    if (tenancy.tenants.get(tenantOf(appId)) === undefined) throw tenantUnknown();
    await writes.run("sign-out", () => endSession(core, appId, refreshToken));
    sessionHub.changed(appId);
    return {};
  };
}
