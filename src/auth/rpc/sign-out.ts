import type { ServiceImpl } from "@connectrpc/connect";
import type { UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { tenantUnknown } from "../../tenancy/tenants.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { endSession } from "../end-session.ts";

/** `UserService.SignOut`. */
export function signOut(core: AuthCore): ServiceImpl<typeof UserService>["signOut"] {
  const { tenancy, sessions, sessionHub, writes, clock } = core;
  return async ({ appId, refreshToken }) => {
    if (tenancy.tenants.get(tenantOf(appId)) === undefined) throw tenantUnknown();
    // What strangers make up costs neither a commit nor the attention of all who listen.
    if (sessions.present(appId, refreshToken, unixSeconds(clock)).kind === "unknown") return {};
    if (await writes.run("sign-out", () => endSession(core, appId, refreshToken))) sessionHub.changed(appId);
    return {};
  };
}
