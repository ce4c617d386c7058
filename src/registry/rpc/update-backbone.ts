import { BackboneUpdateSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import type { UpdateBackboneRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { accept } from "../accept.ts";
import { appAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { requirePresent } from "../nested.ts";
import { decideBackboneUpdate } from "../rules/app.ts";
import { registeredSigner } from "../signers.ts";

/** Replaces an app's backbone. */
export async function updateBackbone(core: RegistryCore, request: UpdateBackboneRequest) {
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "update-backbone",
    schema: BackboneUpdateSchema,
    private: false,
    signerKey: (opened) => registeredSigner(core, opened, BackboneUpdateSchema).publicKey,
    verifyNested: async () => {},
    decide: ({ message, header }) =>
      decideBackboneUpdate({ app: core.store.app(message.appId) }, message, header.signer),
  });
  return { answer: appAnswer(core, message.appId, id) };
}
