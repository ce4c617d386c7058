import { create } from "@bufbuild/protobuf";
import { type TerminationReceipt, TerminationStatus } from "../../../gen/omi/agent/v1/agent_pb.ts";
import {
  type KeyRotated,
  KeyRotatedSchema,
  type ServiceSuspended,
  ServiceSuspendedSchema,
  type ServiceUnbound,
  ServiceUnboundSchema,
} from "../../../gen/omi/registry/v1/log_pb.ts";
import type { Rotation, Suspend, Unbind } from "../../../gen/omi/registry/v1/service_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { AUTH_SERVICE_ID } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { type AppRow, type KeyRow, KeyState, type ServiceKeyRow, type ServiceRow } from "../store.ts";
import { requireApp, requireMaster, requireSame, requireUnusedKey } from "./authority.ts";
import type { RegistryPolicy } from "./policy.ts";

/** What the rules about an existing service build on. */
export interface ServiceFacts {
  app: AppRow | undefined;
  service: ServiceRow | undefined;
  /** The keys that count now: the active one first. */
  keys: readonly ServiceKeyRow[];
}

/**
 * Decides a rotation. That the current key signs makes it a compare-and-set: whoever comes second is no longer current.
 *
 * @param signerKey the key that signed, of whatever state
 * @param now registry time, Unix seconds
 */
export function decideRotation(
  facts: ServiceFacts & { newKeyUsed: boolean },
  rotation: Rotation,
  signerKey: KeyRow,
  policy: RegistryPolicy,
  now: number,
): KeyRotated {
  const app = requireApp(facts.app);
  const service = requireLiveService(facts.service);
  if (signerKey.appId !== app.appId || signerKey.serviceId !== service.serviceId) {
    throw new Refusal(Reason.SIGNER_NOT_AUTHORIZED, "a service rotates its own key only", {
      metadata: { field: "header.signer" },
    });
  }
  if (service.status === ServiceStatus.SUSPENDED) throw suspended();
  const current = facts.keys.find((key) => key.state === KeyState.ACTIVE);
  if (current === undefined || current.keyId !== signerKey.keyId) {
    throw new Refusal(Reason.KEY_NOT_CURRENT, "only the service's current key may rotate", {
      metadata: { field: "header.signer" },
    });
  }
  const grace = facts.keys.find((key) => key.state === KeyState.GRACE);
  if (grace !== undefined && !rotation.immediate) {
    throw new Refusal(Reason.ROTATION_IN_GRACE, "the service's previous key is still in grace", {
      metadata: { grace_period_expiry: String(grace.notAfter) },
      nextStep: "wait until then, or rotate with immediate",
    });
  }
  requireUnusedKey(facts.newKeyUsed, "new_public_key");
  const graceSeconds = rotation.immediate ? 0 : gracePeriod(rotation.gracePeriodSeconds, policy);
  return create(KeyRotatedSchema, {
    appId: app.appId,
    serviceId: service.serviceId,
    oldPublicKey: current.publicKey,
    newPublicKey: rotation.newPublicKey,
    gracePeriodExpiry: graceSeconds === 0 ? 0n : BigInt(now + graceSeconds),
  });
}

/** Decides a suspension. */
export function decideSuspend(facts: ServiceFacts, suspend: Suspend, signer: string): ServiceSuspended {
  const app = requireApp(facts.app);
  requireMaster(app, signer);
  const service = requireLiveService(facts.service);
  if (service.status === ServiceStatus.SUSPENDED) throw suspended();
  return create(ServiceSuspendedSchema, {
    appId: app.appId,
    serviceId: suspend.serviceId,
    oldPublicKey: currentKey(facts)?.publicKey ?? new Uint8Array(),
    configEpoch: epochAfterEndOf(service, app),
  });
}

/** A provider's receipt that verified with `signerKey`, which may be of any state. */
export interface VerifiedReceipt {
  statementId: Uint8Array;
  receipt: TerminationReceipt;
  signerKey: KeyRow;
}

/** Decides an unbinding. A receipt is checked if there is one, and never needed. */
export function decideUnbind(
  facts: ServiceFacts,
  unbind: Unbind,
  signer: string,
  receipt: VerifiedReceipt | undefined,
): ServiceUnbound {
  const app = requireApp(facts.app);
  requireMaster(app, signer);
  const service = requireLiveService(facts.service);
  if (receipt !== undefined) requireReceipt(receipt, unbind, currentKey(facts));
  return create(ServiceUnboundSchema, {
    appId: app.appId,
    serviceId: service.serviceId,
    oldPublicKey: currentKey(facts)?.publicKey ?? new Uint8Array(),
    configEpoch: epochAfterEndOf(service, app),
    receiptStatementId: receipt?.statementId ?? new Uint8Array(),
  });
}

function requireReceipt(verified: VerifiedReceipt, unbind: Unbind, current: ServiceKeyRow | undefined): void {
  const { receipt, signerKey } = verified;
  requireSame(receipt.appId === unbind.appId, "provider_receipt.app_id", "app_id");
  requireSame(receipt.serviceId === unbind.serviceId, "provider_receipt.service_id", "service_id");
  requireSame(receipt.status === TerminationStatus.SUCCESS, "provider_receipt.status", "success");
  if (signerKey.appId !== unbind.appId || signerKey.serviceId !== unbind.serviceId) {
    throw new Refusal(Reason.SIGNER_NOT_AUTHORIZED, "the receipt was signed by another service", {
      metadata: { field: "provider_receipt.header.signer" },
    });
  }
  if (current?.keyId !== signerKey.keyId) {
    throw new Refusal(Reason.KEY_NOT_CURRENT, "the receipt was not signed by the service's active key", {
      metadata: { field: "provider_receipt.header.signer" },
      nextStep: "unbind without the receipt",
    });
  }
}

/** The Auth keys end with the record `auth`, which changes what services may trust: that is a new epoch. */
function epochAfterEndOf(service: ServiceRow, app: AppRow): bigint {
  return service.serviceId === AUTH_SERVICE_ID ? BigInt(app.configEpoch) + 1n : 0n;
}

function currentKey(facts: ServiceFacts): ServiceKeyRow | undefined {
  return facts.keys.find((key) => key.state === KeyState.ACTIVE);
}

function requireLiveService(service: ServiceRow | undefined): ServiceRow {
  if (service === undefined) throw new Refusal(Reason.SERVICE_UNKNOWN, "the app has no such service");
  if (service.status === ServiceStatus.REVOKED) {
    throw new Refusal(Reason.SERVICE_REVOKED, "the service was unbound");
  }
  return service;
}

function suspended(): Refusal {
  return new Refusal(Reason.SERVICE_SUSPENDED, "the service is suspended", {
    nextStep: "the developer restores it with a new ProvisionService that names its service ID",
  });
}

function gracePeriod(asked: number, policy: RegistryPolicy): number {
  const wanted = asked === 0 ? policy.defaultGracePeriodSeconds : asked;
  return Math.min(Math.max(wanted, policy.minGracePeriodSeconds), policy.maxGracePeriodSeconds);
}
