import { ProvisionServiceSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import type { BindServiceRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import {
  EndorsementSchema,
  type ServiceBinding,
  ServiceBindingSchema,
} from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { verifySignature } from "../../statement/statement.ts";
import { accept } from "../accept.ts";
import { bindingAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { lookUpProvider, openNested, requirePresent, verifyPossession } from "../nested.ts";
import { requireApp, requireMaster } from "../rules/authority.ts";
import { decideBinding, requireConsistentBinding, type VerifiedBinding } from "../rules/binding.ts";
import { ownSigner } from "../signers.ts";
import { checkProviderUrl } from "./announce-auth.ts";

/** Binds a service to an app. */
export async function bindService(core: RegistryCore, request: BindServiceRequest) {
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "bind-service",
    schema: ServiceBindingSchema,
    private: true,
    signerKey: (opened) => ownSigner(opened, opened.message.publicKey),
    verifyNested: ({ message }, now) => verifyBinding(core, message, now),
    decide({ message, header }, verified, now) {
      const facts = {
        app: core.store.app(message.appId),
        service: core.store.service(message.appId, message.serviceId),
        usedProof: core.store.proof(verified.proofId),
        keyUsed: core.store.keyUsed(message.publicKey),
      };
      return decideBinding(facts, verified, header.signer, now);
    },
  });
  return { answer: bindingAnswer(core, message.appId, message.serviceId, id) };
}

/**
 * Three parties have to agree: the developer ordered it from this provider, the provider vouches for this key and endpoint,
 * and the service holds the key.
 */
async function verifyBinding(core: RegistryCore, binding: ServiceBinding, now: number): Promise<VerifiedBinding> {
  const proof = openNested(
    core,
    ProvisionServiceSchema,
    binding.developerProof,
    "developer_proof",
    (order) => order.targetProvider,
    now,
  );
  const endorsement = openNested(core, EndorsementSchema, binding.endorsement, "endorsement", core.domain, now);
  const verified = {
    binding,
    proofId: proof.id,
    proof: proof.message,
    proofSigner: proof.header.signer,
    endorsement: endorsement.message,
  };
  requireConsistentBinding(verified);
  const { targetProvider, providerKeyId } = proof.message;
  checkProviderUrl(core, binding.endpointUrl, "endpoint_url", targetProvider);
  if (endorsement.header.signer !== providerKeyId) {
    throw new Refusal(Reason.TARGET_MISMATCH, "the developer expects another Provider key to endorse this", {
      metadata: { field: "endorsement.header.signer", expected: providerKeyId },
    });
  }

  const app = requireApp(core.store.app(binding.appId));
  requireMaster(app, proof.header.signer, "developer_proof.header.signer");
  // Before the look-up, so that only a developer of this registry can make it call a domain.
  await verifySignature(proof, app.masterPublicKey);
  const provider = await lookUpProvider(core, targetProvider, providerKeyId, now);
  await Promise.all([
    verifySignature(endorsement, provider.publicKey),
    verifyPossession(
      core,
      binding.keyPossession,
      "key_possession",
      {
        appId: binding.appId,
        serviceId: binding.serviceId,
        role: KeyRole.SERVICE,
        publicKey: binding.publicKey,
        previousKeyId: "",
      },
      now,
    ),
  ]);
  return verified;
}
