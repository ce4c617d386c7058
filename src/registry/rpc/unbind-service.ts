import { TerminationReceiptSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import type { UnbindServiceRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { type Unbind, UnbindSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { verifySignature } from "../../statement/statement.ts";
import { accept } from "../accept.ts";
import { serviceAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { openNested, requirePresent } from "../nested.ts";
import { decideUnbind, type VerifiedReceipt } from "../rules/service.ts";
import { loadServiceFacts } from "../service-facts.ts";
import { registeredSigner } from "../signers.ts";

/** Ends a service's binding for ever. */
export async function unbindService(core: RegistryCore, request: UnbindServiceRequest) {
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "unbind-service",
    schema: UnbindSchema,
    private: true,
    signerKey: (opened) => registeredSigner(core, opened, UnbindSchema).publicKey,
    verifyNested: ({ message }, now) => verifyReceipt(core, message, now),
    decide: ({ message, header }, receipt, now) =>
      decideUnbind(loadServiceFacts(core, message.appId, message.serviceId, now), message, header.signer, receipt),
  });
  return serviceAnswer(core, message.appId, message.serviceId, id);
}

async function verifyReceipt(core: RegistryCore, unbind: Unbind, now: number): Promise<VerifiedReceipt | undefined> {
  if (unbind.providerReceipt === undefined) return undefined;
  const field = "provider_receipt";
  const opened = openNested(core, TerminationReceiptSchema, unbind.providerReceipt, field, core.domain, now);
  const signerKey = registeredSigner(core, opened, TerminationReceiptSchema);
  await verifySignature(opened, signerKey.publicKey);
  return { statementId: opened.id, receipt: opened.message, signerKey };
}
