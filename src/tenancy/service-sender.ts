import { type Service, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import type { Views } from "../directory/views.ts";
import { keyCounts } from "../token/access-token.ts";
import { type AccessTokenClaims, serviceIdOf } from "../token/claims.ts";

/**
 * Checks that a service may still speak by a service token that verifies: that it is active at the registry, and that the
 * key it got the token with is its current one, or in grace. So a rotation that leaves no grace, a suspension and an
 * unbinding end its tokens before they expire.
 *
 * @returns the service's ID
 * @throws Refusal TOKEN_REVOKED, or what the view throws
 */
export async function requireSender(
  claims: AccessTokenClaims,
  { views, clock }: { readonly views: Views; readonly clock: Clock },
): Promise<string> {
  const { app_id: appId, cnf } = claims;
  const serviceId = serviceIdOf(claims);
  const now = unixSeconds(clock);
  try {
    if (holds(await views.service(appId, serviceId), cnf?.jkt, now)) return serviceId;
    // A key that became current a moment ago. Whoever shows it was given the token by the app's own Auth Provider.
    if (holds(await views.refreshService(appId, serviceId), cnf?.jkt, now)) return serviceId;
  } catch (error) {
    if (!isRefusal(error, Reason.SERVICE_UNKNOWN)) throw error;
  }
  throw new Refusal(Reason.TOKEN_REVOKED, "the calling service, or the key that its token is bound to, was revoked", {
    nextStep: "ask the Auth Provider for a new token with the current key",
  });
}

/** True if the service is active, and a key with this ID counts. */
function holds({ status, keys }: Service, keyId: string | undefined, now: number): boolean {
  return status === ServiceStatus.ACTIVE && keys.some((key) => key.keyId === keyId && keyCounts(key, now));
}
