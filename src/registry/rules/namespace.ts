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
import type { ContactRow, NamespaceRow } from "../store.ts";
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
    throw new Refusal(Reason.NAMESPACE_TAKEN, "this namespace, or one that looks like it, is claimed");
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

// The wait for the second code; the one for each further code is twice as long, up to a day.
const firstWaitSeconds = 60;
const longestWaitSeconds = 86_400;

/**
 * Decides whether a namespace's contact is sent another code. Each message is unasked-for mail if the address is a
 * stranger's, hence the growing wait.
 *
 * @returns false if there is nothing left to activate
 * @throws Refusal NAMESPACE_UNKNOWN, SIGNER_NOT_AUTHORIZED, NOT_FOUND {field}, RATE_LIMITED {retry_after_seconds}
 */
export function decideResend(
  facts: { namespace: NamespaceRow | undefined; contact: ContactRow | undefined },
  signer: string,
  now: number,
): boolean {
  const { namespace, contact } = facts;
  if (namespace === undefined) throw new Refusal(Reason.NAMESPACE_UNKNOWN, "this registry has no such namespace");
  if (namespace.masterKeyId !== signer) {
    throw new Refusal(Reason.SIGNER_NOT_AUTHORIZED, "only the namespace's Master key may ask for a code", {
      metadata: { field: "header.signer" },
    });
  }
  if (namespace.status === NamespaceStatus.ACTIVE) return false;
  if (contact === undefined) {
    throw new Refusal(Reason.NOT_FOUND, "this namespace has no contact any more", {
      metadata: { field: "contact" },
      nextStep: "claim another namespace, with a contact",
    });
  }
  const wait = Math.min(firstWaitSeconds * 2 ** (contact.codesSent - 1), longestWaitSeconds);
  const left = contact.codeSentAt + wait - now;
  if (left <= 0) return true;
  throw new Refusal(Reason.RATE_LIMITED, "a code was sent a short time ago", {
    metadata: { retry_after_seconds: `${left}` },
    nextStep: `look for it at the contact, or ask again in ${left} s`,
  });
}

/** Decides an activation, once the contact's code was found right. */
export function decideActivation(namespace: string): NamespaceActivated {
  return create(NamespaceActivatedSchema, { namespace });
}
