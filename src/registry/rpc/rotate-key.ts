import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import type { RotateKeyRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { RotationSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { accept } from "../accept.ts";
import { serviceAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { requirePresent, verifyPossession } from "../nested.ts";
import { decideRotation } from "../rules/service.ts";
import { loadServiceFacts } from "../service-facts.ts";
import { registeredSigner } from "../signers.ts";

/** Replaces a service's key. */
export async function rotateKey(core: RegistryCore, request: RotateKeyRequest) {
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "rotate-key",
    schema: RotationSchema,
    private: false,
    signerKey: (opened) => registeredSigner(core, opened, RotationSchema).publicKey,
    verifyNested: ({ message, header }, now) =>
      verifyPossession(
        core,
        message.keyPossession,
        "key_possession",
        {
          appId: message.appId,
          serviceId: message.serviceId,
          role: KeyRole.SERVICE,
          publicKey: message.newPublicKey,
          previousKeyId: header.signer,
        },
        now,
      ),
    decide(opened, _nested, now) {
      const { message } = opened;
      const facts = {
        ...loadServiceFacts(core, message.appId, message.serviceId, now),
        newKeyUsed: core.store.keyUsed(message.newPublicKey),
      };
      return decideRotation(facts, message, registeredSigner(core, opened, RotationSchema), core.policy, now);
    },
  });
  return serviceAnswer(core, message.appId, message.serviceId, id);
}
