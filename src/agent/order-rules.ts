import type { ProvisionService } from "../../gen/omi/agent/v1/agent_pb.ts";
import { fieldInvalid } from "../core/field-invalid.ts";
import { isReservedServiceId } from "../core/names.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Provider } from "../tenancy/state.ts";
import { providerRefused } from "./hooks.ts";

/** The longest time for which an order may be good after its timestamp, in seconds. */
const MAX_PROOF_LIFE_SECONDS = 3600;

/**
 * What must hold of a new order, whatever tenants there are.
 *
 * @param timestamp when it was signed, in Unix seconds
 * @param now Unix seconds
 * @throws Refusal TARGET_MISMATCH, FIELD_INVALID, PROOF_EXPIRED, SERVICE_ID_RESERVED or PROVIDER_REFUSED
 */
export function requireAcceptable(
  order: ProvisionService,
  timestamp: bigint,
  { provider, serviceTypes, now }: { provider: Provider; serviceTypes: readonly string[]; now: number },
): void {
  requireTarget(order.targetProvider, provider.domain, "target_provider");
  requireTarget(order.providerKeyId, provider.key.keyId, "provider_key_id");
  if (order.expiresAt <= timestamp || order.expiresAt > timestamp + BigInt(MAX_PROOF_LIFE_SECONDS)) {
    throw fieldInvalid("expires_at", "lifetime");
  }
  if (order.expiresAt <= BigInt(now)) throw proofExpired(order);
  if (isReservedServiceId(order.serviceId)) {
    throw new Refusal(Reason.SERVICE_ID_RESERVED, "the record of the Auth Provider is announced, never bound");
  }
  if (!serviceTypes.includes(order.serviceType)) throw providerRefused("service_type", "no such service here");
}

/** The refusal of an order that can't bind anything any more. */
export function proofExpired({ expiresAt }: ProvisionService): Refusal {
  return new Refusal(Reason.PROOF_EXPIRED, "the order is past its expires_at and never bound a service", {
    metadata: { expires_at: String(expiresAt) },
    nextStep: "sign a new order",
  });
}

function requireTarget(named: string, expected: string, field: string): void {
  if (named === expected) return;
  throw new Refusal(Reason.TARGET_MISMATCH, "the order is meant for another provider or Provider key", {
    metadata: { field, expected },
  });
}
