import type { ServiceImpl } from "@connectrpc/connect";
import type { UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { endSession } from "../end-session.ts";
import type { IssuedRefreshToken, Session } from "../sessions.ts";

/**
 * `UserService.RefreshToken`. The token is spent only once it is clear that new ones can be issued, so that a registry that
 * can't be reached doesn't end sessions.
 */
export function refreshToken(core: AuthCore): ServiceImpl<typeof UserService>["refreshToken"] {
  const { tenancy, tokens, writes } = core;
  return async ({ appId, serviceId, refreshToken }) => {
    tenancy.tenants.active(tenantOf(appId));
    const grant =
      tokens.authoriseNow(appId, serviceId) ??
      // Registries are asked for those alone who have a good token.
      (isCurrent(core, appId, refreshToken) ? await tokens.authorise(appId, serviceId) : undefined);
    const session = await writes.run("refresh-token", () => {
      tenancy.tenants.active(tenantOf(appId));
      return spend(core, appId, refreshToken);
    });
    if (grant === undefined || session === undefined) {
      core.sessionHub.changed(appId);
      throw new Refusal(Reason.REFRESH_TOKEN_INVALID, "the refresh token is unknown, expired or was used before");
    }
    return { tokens: tokens.issue(grant, session) };
  };
}

function isCurrent({ sessions, clock }: AuthCore, appId: string, refreshToken: string): boolean {
  return sessions.present(appId, refreshToken, unixSeconds(clock)).kind === "current";
}

/** What a token is good for is decided here, where it is spent. */
function spend(core: AuthCore, appId: string, refreshToken: string): (Session & IssuedRefreshToken) | undefined {
  const { sessions, clock } = core;
  const now = unixSeconds(clock);
  const presented = sessions.present(appId, refreshToken, now);
  if (presented.kind === "current") return { ...presented, ...sessions.rotate(presented, refreshToken, now) };
  if (presented.kind === "used") endSession(core, appId, refreshToken);
  return undefined;
}
