import type { SuspendServiceRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { SuspendSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { accept } from "../accept.ts";
import { serviceAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { requirePresent } from "../nested.ts";
import { decideSuspend } from "../rules/service.ts";
import { loadServiceFacts } from "../service-facts.ts";
import { registeredSigner } from "../signers.ts";

/** Stops all keys of a service at once. */
export async function suspendService(core: RegistryCore, request: SuspendServiceRequest) {
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "suspend-service",
    schema: SuspendSchema,
    private: false,
    signerKey: (opened) => registeredSigner(core, opened, SuspendSchema).publicKey,
    verifyNested: async () => {},
    decide: ({ message, header }, _nested, now) =>
      decideSuspend(loadServiceFacts(core, message.appId, message.serviceId, now), message, header.signer),
  });
  return serviceAnswer(core, message.appId, message.serviceId, id);
}
