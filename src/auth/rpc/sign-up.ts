import type { ServiceImpl } from "@connectrpc/connect";
import type { UserService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { requestContext } from "../../rpc/call/context.ts";
import { sourceOf } from "../../rpc/call/source.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { normaliseUserName } from "../user-name.ts";
import { subjectOf, userExists } from "../users.ts";

/**
 * `UserService.SignUp`. Every call counts as an attempt of its source: accounts cost disk, and the answer tells whether a
 * name is taken.
 */
export function signUp(core: AuthCore): ServiceImpl<typeof UserService>["signUp"] {
  const { tenancy, users, passwords, attempts, writes, clock } = core;
  return async ({ appId, userName, password }, context) => {
    tenancy.tenants.active(tenantOf(appId));
    if (core.signUp === "closed") {
      throw new Refusal(Reason.SIGN_UP_CLOSED, "strangers can't sign up here");
    }
    const name = normaliseUserName(userName);
    const hash = await attempts.make({ source: sourceOf(requestContext(context).peer) }, async () =>
      users.byName(appId, name) === undefined ? passwords.hash(password) : undefined,
    );
    if (hash === undefined) throw userExists();
    const userId = await writes.run("sign-up", () => {
      tenancy.tenants.active(tenantOf(appId));
      return users.add(appId, name, hash, unixSeconds(clock));
    });
    return { subject: subjectOf(userId) };
  };
}
