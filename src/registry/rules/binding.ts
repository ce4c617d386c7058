import { create } from "@bufbuild/protobuf";
import type { ProvisionService } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { type ServiceBound, ServiceBoundSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import type { Endorsement, ServiceBinding } from "../../../gen/omi/registry/v1/service_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { equalBytes } from "../../core/bytes.ts";
import { fieldInvalid } from "../../core/field-invalid.ts";
import { isReservedServiceId } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { AppRow, ProofRow, ServiceRow } from "../store.ts";
import { requireApp, requireMaster, requireSame, requireUnusedKey } from "./authority.ts";

/** The longest time for which a developer's proof may be good, in seconds. */
const maxProofLifeSeconds = 3600;

/** A binding with its nested statements, each of which verified by itself. */
export interface VerifiedBinding {
  binding: ServiceBinding;
  /** The Statement ID of the developer's proof. */
  proofId: Uint8Array;
  proof: ProvisionService;
  /** The key ID that signed the proof. */
  proofSigner: string;
  endorsement: Endorsement;
}

/** What must hold between a binding and the statements in it, whatever the registry's state. */
export function requireConsistentBinding({ binding, proofId, proof, endorsement }: VerifiedBinding): void {
  if (isReservedServiceId(binding.serviceId)) {
    throw new Refusal(Reason.SERVICE_ID_RESERVED, "the record of the Auth Provider is announced, never bound");
  }
  requireSame(proof.appId === binding.appId, "developer_proof.app_id", "app_id");
  requireSame(proof.serviceType === binding.serviceType, "developer_proof.service_type", "service_type");
  requireSame(
    proof.serviceId === "" || proof.serviceId === binding.serviceId,
    "developer_proof.service_id",
    "service_id",
  );
  const proofTime = proof.header?.timestamp ?? 0n;
  if (proof.expiresAt <= proofTime || proof.expiresAt > proofTime + BigInt(maxProofLifeSeconds)) {
    throw fieldInvalid("developer_proof.expires_at", "lifetime");
  }
  requireSame(endorsement.appId === binding.appId, "endorsement.app_id", "app_id");
  requireSame(endorsement.serviceId === binding.serviceId, "endorsement.service_id", "service_id");
  requireSame(equalBytes(endorsement.publicKey, binding.publicKey), "endorsement.public_key", "public_key");
  requireSame(endorsement.endpointUrl === binding.endpointUrl, "endorsement.endpoint_url", "endpoint_url");
  requireSame(equalBytes(endorsement.proofId, proofId), "endorsement.proof_id", "the developer's proof");
}

/**
 * Decides a binding.
 *
 * @param now registry time, Unix seconds
 * @returns the effect; undefined if this proof has bound this very key already and nothing is left to do
 */
export function decideBinding(
  facts: {
    app: AppRow | undefined;
    service: ServiceRow | undefined;
    /** The proof's earlier use, if any. */
    usedProof: ProofRow | undefined;
    keyUsed: boolean;
  },
  verified: VerifiedBinding,
  bindingSigner: string,
  now: number,
): ServiceBound | undefined {
  const { binding, proof, proofId } = verified;
  const app = requireApp(facts.app);
  requireMaster(app, verified.proofSigner, "developer_proof.header.signer");
  const { service, usedProof } = facts;
  if (service?.status === ServiceStatus.REVOKED) {
    throw new Refusal(Reason.SERVICE_REVOKED, "this service ID was unbound and is never used again", {
      nextStep: "provision the service under another service ID",
    });
  }
  if (usedProof !== undefined) {
    if (usedProof.keyId !== bindingSigner || usedProof.serviceId !== binding.serviceId) {
      throw new Refusal(Reason.PROOF_USED, "the developer's proof has bound another key");
    }
    if (service?.status === ServiceStatus.SUSPENDED) throw superseded();
    return undefined;
  }
  if (proof.expiresAt <= BigInt(now)) {
    throw new Refusal(Reason.PROOF_EXPIRED, "the developer's proof has expired", {
      metadata: { expires_at: String(proof.expiresAt) },
    });
  }
  const restored = service?.status === ServiceStatus.SUSPENDED;
  if (service !== undefined && !restored) {
    throw new Refusal(Reason.SERVICE_ID_TAKEN, "this service ID is bound to another key");
  }
  if (service !== undefined) {
    if (service.provider !== proof.targetProvider || proof.serviceId !== service.serviceId) {
      throw new Refusal(
        Reason.SERVICE_ID_TAKEN,
        "a suspended service is restored by its own provider, on an order that names it",
      );
    }
    if ((proof.header?.timestamp ?? 0n) <= BigInt(service.suspendedAt)) throw superseded();
  }
  requireUnusedKey(facts.keyUsed || bindingSigner === proof.providerKeyId, "public_key");
  return create(ServiceBoundSchema, {
    appId: app.appId,
    serviceId: binding.serviceId,
    serviceType: binding.serviceType,
    provider: proof.targetProvider,
    endpointUrl: binding.endpointUrl,
    publicKey: binding.publicKey,
    proofId,
    restored,
  });
}

function superseded(): Refusal {
  return new Refusal(Reason.PROOF_SUPERSEDED, "the developer's proof is not newer than the service's suspension");
}
