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
  const { tenancy, sessions, sessionHub, tokens, writes, clock } = core;
  return async ({ appId, serviceId, refreshToken }) => {
    tenancy.tenants.active(tenantOf(appId));
    const authorised = tokens.authoriseNow(appId, serviceId);
    const { kind } = sessions.present(appId, refreshToken, unixSeconds(clock));
    // What strangers make up costs no commit, and registries are asked for those alone who have a good token.
    if (kind === "unknown") throw refreshTokenInvalid();
    const grant = authorised ?? (kind === "current" ? await tokens.authorise(appId, serviceId) : undefined);
    const session = await writes.run("refresh-token", () => {
      tenancy.tenants.active(tenantOf(appId));
      return spend(core, appId, refreshToken);
    });
    if (grant === undefined || typeof session === "string") {
      if (session === "ended") sessionHub.changed(appId);
      throw refreshTokenInvalid();
    }
    return { tokens: tokens.issue(grant, session) };
  };
}

/** What a token is good for is decided here, where it is spent. "ended" if there was a session, and it is no more. */
function spend(core: AuthCore, appId: string, refreshToken: string): (Session & IssuedRefreshToken) | "ended" | "none" {
  const { sessions, clock } = core;
  const now = unixSeconds(clock);
  const presented = sessions.present(appId, refreshToken, now);
  if (presented.kind === "current") return { ...presented, ...sessions.rotate(presented, refreshToken, now) };
  return presented.kind === "used" && endSession(core, appId, refreshToken) ? "ended" : "none";
}

function refreshTokenInvalid(): Refusal {
  return new Refusal(Reason.REFRESH_TOKEN_INVALID, "the refresh token is unknown, expired or was used before");
}
