import { type NamespaceClaim, NamespaceClaimSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import type { ClaimNamespaceRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { concatBytes, equalBytes, utf8 } from "../../core/bytes.ts";
import { fieldInvalid } from "../../core/field-invalid.ts";
import { foldName } from "../../core/names.ts";
import type { Refusal } from "../../core/refusal.ts";
import { sha256 } from "../../statement/crypto.ts";
import { type Acceptance, accept } from "../accept.ts";
import { codeHash, newCode, sendCode } from "../activation.ts";
import { namespaceAnswer } from "../answers.ts";
import { countCode } from "../code-throttle.ts";
import type { RegistryCore } from "../core.ts";
import { requirePresent } from "../nested.ts";
import { requireSame } from "../rules/authority.ts";
import { decideNamespaceClaim } from "../rules/namespace.ts";
import { ownSigner } from "../signers.ts";

/**
 * Claims a namespace. Under the code policy the contact is sent a code, and the namespace waits for it.
 *
 * @param source where the call comes from: anybody can claim, so anybody could have mail sent to strangers
 */
export async function claimNamespace(core: RegistryCore, request: ClaimNamespaceRequest, source: () => string) {
  const { contactEmail: email, contactSalt: salt } = request;
  const code = core.policy.activationPolicy === ActivationPolicy.CODE ? newCode(core.random) : undefined;
  let isNew = false;

  const acceptance: Acceptance<typeof NamespaceClaimSchema, void> = {
    name: "claim-namespace",
    schema: NamespaceClaimSchema,
    private: false,
    signerKey: (opened) => ownSigner(opened, opened.message.publicKey),
    verifyNested: async ({ message }) => checkContact(message, email, salt, code !== undefined),
    decide({ message }, _, now) {
      const effect = decideNamespaceClaim(
        {
          taken: core.store.namespaceTaken(foldName(message.namespaceClaim)),
          masterKeyUsed: core.store.keyUsed(message.publicKey),
        },
        message,
        core.policy,
      );
      if (email !== "") {
        const namespace = message.namespaceClaim;
        if (code !== undefined) countCode(core, source(), email);
        const hash = code === undefined ? null : codeHash(code);
        core.store.putContact({ namespace, email, salt, codeHash: hash, codeSentAt: now });
      }
      isNew = true;
      return effect;
    },
  };
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), acceptance);

  // After the commit: a crash here leaves a pending namespace whose code nobody got; its owner can ask for another.
  if (isNew && code !== undefined) await sendCode(core, { namespace: message.namespaceClaim, email, code });
  return { answer: namespaceAnswer(core, message.namespaceClaim, id) };
}

function checkContact(claim: NamespaceClaim, email: string, salt: Uint8Array, needed: boolean): void {
  if (email === "" && (needed || salt.length > 0)) throw contactIncomplete("contact_email");
  // Without a salt, whoever reads the log could try out addresses against the commitment.
  if (email !== "" && salt.length === 0) throw contactIncomplete("contact_salt");
  const commitment = email === "" ? new Uint8Array() : sha256(concatBytes(salt, utf8(email)));
  requireSame(equalBytes(claim.contactCommitment, commitment), "contact_commitment", "contact_salt and contact_email");
}

function contactIncomplete(field: string): Refusal {
  return fieldInvalid(field, "required", {
    message: "a contact is an e-mail address and a salt, and some registries need one",
    must: "must be given, with the claim committing to address and salt",
  });
}
