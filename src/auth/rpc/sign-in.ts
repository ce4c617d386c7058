import type { ServiceImpl } from "@connectrpc/connect";
import type { SignInRequest, UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { requestContext } from "../../rpc/call/context.ts";
import { sourceOf } from "../../rpc/call/source.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { endOldestSessions } from "../end-session.ts";
import { normaliseUserName } from "../user-name.ts";
import type { User } from "../users.ts";

/**
 * `UserService.SignIn`. The registry is asked about the service only once the password was right: strangers shall not make
 * this provider call others.
 */
export function signIn(core: AuthCore): ServiceImpl<typeof UserService>["signIn"] {
  const { tenancy, users, sessions, sessionHub, tokens, writes, clock } = core;
  return async (request, context) => {
    const { appId, serviceId } = request;
    tenancy.tenants.active(tenantOf(appId));
    const name = normaliseUserName(request.userName);
    const user = await authenticate(core, request, name, sourceOf(requestContext(context).peer));
    const grant = await tokens.authorise(appId, serviceId);
    const { session, hasEnded } = await writes.run("sign-in", () => {
      tenancy.tenants.active(tenantOf(appId));
      if (users.byName(appId, name)?.userId !== user.userId) throw credentialsInvalid();
      const hasEnded = endOldestSessions(core, appId, user.userId);
      return { session: sessions.begin(appId, user.userId, unixSeconds(clock)), hasEnded };
    });
    if (hasEnded) sessionHub.changed(appId);
    return { tokens: tokens.issue(grant, session) };
  };
}

async function authenticate(core: AuthCore, request: SignInRequest, name: string, source: string): Promise<User> {
  const { users, passwords, attempts, writes } = core;
  const { appId, password } = request;
  const attempt = { source, account: { appId, name } };
  const user = users.byName(appId, name);
  const { correct, betterHash } = await attempts.make(attempt, () => passwords.check(password, user?.password));
  if (user === undefined || !correct) throw credentialsInvalid();
  await writes.run("sign-in.password", () => {
    attempts.succeeded(attempt);
    if (betterHash !== undefined) users.setPassword(appId, user.userId, betterHash);
  });
  return user;
}

function credentialsInvalid(): Refusal {
  return new Refusal(Reason.CREDENTIALS_INVALID, "unknown user or wrong password");
}
