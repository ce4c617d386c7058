import { create } from "@bufbuild/protobuf";
import {
  type NamespaceActivated,
  NamespaceActivatedSchema,
  type NamespaceClaimed,
  NamespaceClaimedSchema,
} from "../../../gen/omi/registry/v1/log_pb.ts";
import { type NamespaceClaim, NamespaceStatus } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { toHex } from "../../core/bytes.ts";
import { isReservedNamespace } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { requireUnusedKey } from "./authority.ts";
import type { RegistryPolicy } from "./policy.ts";

/** Decides a claim: first come, first served, one Master key for one namespace. */
export function decideNamespaceClaim(
  facts: { taken: boolean; masterKeyUsed: boolean },
  claim: NamespaceClaim,
  policy: RegistryPolicy,
): NamespaceClaimed {
  if (isReservedNamespace(claim.namespaceClaim)) {
    throw new Refusal(Reason.NAME_RESERVED, "this namespace is reserved", { metadata: { field: "namespace_claim" } });
  }
  if (facts.taken) {
    throw new Refusal(Reason.NAMESPACE_TAKEN, "this namespace, or one that looks like it, is claimed", {
      nextStep: "choose another name",
    });
  }
  requireUnusedKey(facts.masterKeyUsed, "public_key");
  const distinct = new Set([claim.publicKey, ...claim.guardianPublicKeys].map(toHex));
  requireUnusedKey(distinct.size !== claim.guardianPublicKeys.length + 1, "guardian_public_keys");
  return create(NamespaceClaimedSchema, {
    namespace: claim.namespaceClaim,
    status: policy.activationPolicy === ActivationPolicy.CODE ? NamespaceStatus.PENDING : NamespaceStatus.ACTIVE,
    masterPublicKey: claim.publicKey,
    guardianPublicKeys: claim.guardianPublicKeys,
    contactCommitment: claim.contactCommitment,
    ...(claim.metadata === undefined ? {} : { metadata: claim.metadata }),
  });
}

/** Decides an activation, once the contact's code was found right. */
export function decideActivation(namespace: string): NamespaceActivated {
  return create(NamespaceActivatedSchema, { namespace });
}
