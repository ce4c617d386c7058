import type { ServiceImpl } from "@connectrpc/connect";
import type { ServiceTokenService } from "../../../gen/omi/auth/v1/token_service_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { keyCounts } from "../../token/access-token.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import { audienceFor, openTokenRequest } from "../token-request.ts";

/**
 * `ServiceTokenService.IssueServiceToken`. The nonce is spent last, so that a request which could not be granted for the
 * moment may come again; what was granted is kept nowhere, so the same bytes are granted once.
 */
export function issueServiceToken(core: AuthCore): ServiceImpl<typeof ServiceTokenService>["issueServiceToken"] {
  const { tenancy, views, tokens, writes, clock } = core;
  return async ({ statement }) => {
    const { opened, key } = await openTokenRequest(core, statement);
    tenancy.admission.check(opened);
    if (!keyCounts(key, unixSeconds(clock))) throw keyNotCurrent();
    const { appId, serviceId } = opened.message;
    const authKey = await tokens.authKeyOf(appId);
    const audience = await audienceFor(opened.message, views);
    await writes.run("service-token", () => {
      tenancy.tenants.active(tenantOf(appId));
      tenancy.admission.admitOnce(opened);
    });
    const { accessToken, expiresAt } = tokens.issueToService({
      appId,
      serviceId,
      audience,
      keyId: key.keyId,
      authKey,
    });
    return { accessToken, expiresAt: BigInt(expiresAt) };
  };
}

function keyNotCurrent(): Refusal {
  return new Refusal(Reason.KEY_NOT_CURRENT, "header.signer: the key's grace is over", {
    metadata: { field: "header.signer" },
  });
}
