import { ActivationCodeRequestSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import type { ResendActivationCodeRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { checkNew, openSigned } from "../accept.ts";
import { codeHash, newCode, sendCode } from "../activation.ts";
import { namespaceAnswer } from "../answers.ts";
import { countCode } from "../code-throttle.ts";
import { type RegistryCore, registryTime } from "../core.ts";
import { requirePresent } from "../nested.ts";
import { decideResend } from "../rules/namespace.ts";
import { registeredSigner } from "../signers.ts";

/**
 * Sends a namespace's contact another code. Codes lie outside of the log, so the spent nonce alone tells that a statement
 * is known; it is forgotten when the statement is too old to be accepted.
 *
 * @param source where the call comes from
 */
export async function resendActivationCode(
  core: RegistryCore,
  request: ResendActivationCodeRequest,
  source: () => string,
) {
  const opened = await openSigned(core, requirePresent(request.statement, "statement"), {
    schema: ActivationCodeRequestSchema,
    signerKey: (opened) => registeredSigner(core, opened, ActivationCodeRequestSchema).publicKey,
  });
  const { namespace } = opened.message;
  if (core.codeSender === undefined) {
    throw new Refusal(Reason.UNIMPLEMENTED, "this registry sends no codes", {
      metadata: { method: "ResendActivationCode" },
      nextStep: "ask the registry's operator",
    });
  }
  const code = newCode(core.random);
  const email = await core.queue.run("resend-activation-code", () => {
    checkNew(core, opened);
    if (core.nonces.isSpent(opened)) return;
    const now = registryTime(core);
    const contact = core.store.contact(namespace);
    const facts = { namespace: core.store.namespace(namespace), contact };
    if (!decideResend(facts, opened.header.signer, now)) return;
    if (contact !== undefined) countCode(core, source(), contact.email);
    core.store.replaceCode(namespace, codeHash(code), now);
    core.nonces.spend(opened, now);
    return contact?.email;
  });
  // After the commit: a crash here leaves a namespace whose code nobody got; its owner asks for another, a while later.
  if (email !== undefined) await sendCode(core, { namespace, email, code });
  return { answer: namespaceAnswer(core, namespace, opened.id) };
}
