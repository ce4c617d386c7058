import type { ServiceImpl } from "@connectrpc/connect";
import type { UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { tenantUnknown } from "../../tenancy/tenants.ts";
import { type AuthCore, tenantOf } from "../core.ts";

/** `UserService.SignOut`. */
export function signOut({ tenancy, sessions, writes }: AuthCore): ServiceImpl<typeof UserService>["signOut"] {
  return async ({ appId, refreshToken }) => {
    if (tenancy.tenants.get(tenantOf(appId)) === undefined) throw tenantUnknown();
    await writes.run("sign-out", () => sessions.end(appId, refreshToken));
    return {};
  };
}
