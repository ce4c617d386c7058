import { NamespaceActivationSchema, NamespaceStatus } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import type { ActivateNamespaceRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { statementId } from "../../statement/statement.ts";
import { codeMatches } from "../activation.ts";
import { namespaceAnswer, sign } from "../answers.ts";
import { countWrongCode } from "../code-throttle.ts";
import { commit } from "../commit.ts";
import { type RegistryCore, registryTime } from "../core.ts";
import { decideActivation } from "../rules/namespace.ts";
import type { NamespaceRow } from "../store.ts";

/**
 * Makes a pending namespace active; the decision stands in the log as a statement by the registry.
 *
 * @param source where the call comes from
 */
export async function activateNamespace(core: RegistryCore, request: ActivateNamespaceRequest, source: () => string) {
  const right = await core.queue.run("activate-namespace", () => {
    const row = core.store.namespace(request.namespace);
    if (row === undefined) throw new Refusal(Reason.NAMESPACE_UNKNOWN, "this registry has no such namespace");
    if (row.status === NamespaceStatus.ACTIVE) return true;
    return tryCode(core, row, request.code, source());
  });
  if (!right) {
    throw new Refusal(Reason.ACTIVATION_CODE_INVALID, "the code is wrong");
  }
  const claimId = core.store.namespace(request.namespace)?.claimStatementId ?? new Uint8Array();
  return { answer: namespaceAnswer(core, request.namespace, claimId) };
}

/** False for a wrong code: that it was counted must be kept, so it doesn't throw. */
function tryCode(core: RegistryCore, row: NamespaceRow, code: string, source: string): boolean {
  const contact = core.store.contact(row.namespace);
  if (contact === undefined || contact.codeHash === null) return false;
  const wasRight = countWrongCode(core, source, contact);
  if (!codeMatches(code, contact.codeHash)) return false;
  wasRight();
  const now = registryTime(core);
  const decision = sign(core, NamespaceActivationSchema, now, {
    header: { issuedAt: BigInt(now), inReplyTo: row.claimStatementId },
    namespace: row.namespace,
  });
  const effect = decideActivation(row.namespace);
  commit(core, { id: statementId(decision), statement: decision, effect, private: false }, now);
  core.store.closeCode(row.namespace);
  return true;
}
