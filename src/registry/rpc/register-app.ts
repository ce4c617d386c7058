import { AppManifestSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import type { RegisterAppRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { foldName } from "../../core/names.ts";
import { sha256 } from "../../statement/crypto.ts";
import { accept } from "../accept.ts";
import { appAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { appOf } from "../effects.ts";
import { requirePresent } from "../nested.ts";
import { decideAppManifest } from "../rules/app.ts";
import { registeredSigner } from "../signers.ts";

/** Registers an app and assigns its AppID. */
export async function registerApp(core: RegistryCore, request: RegisterAppRequest) {
  const { id, effect } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "register-app",
    schema: AppManifestSchema,
    private: false,
    signerKey: (opened) => registeredSigner(core, opened, AppManifestSchema).publicKey,
    verifyNested: async () => {},
    decide({ message, header, statement }) {
      const namespace = core.store.namespace(message.ownerNamespace);
      const slugTaken = core.store.slugTaken(message.ownerNamespace, foldName(message.projectSlug));
      const digest = sha256(statement.data);
      return decideAppManifest({ namespace, slugTaken }, message, header.signer, core.domain, digest);
    },
  });
  const appId = (effect && appOf(effect)) ?? "";
  return { answer: appAnswer(core, appId, id) };
}
