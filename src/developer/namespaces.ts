import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import {
  ActivationCodeRequestSchema,
  type Namespace,
  NamespaceClaimSchema,
} from "../../gen/omi/registry/v1/namespace_pb.ts";
import {
  ActivateNamespaceRequestSchema,
  ClaimNamespaceRequestSchema,
} from "../../gen/omi/registry/v1/registry_service_pb.ts";
import { concatBytes, utf8 } from "../core/bytes.ts";
import type { Contact } from "../directory/registry-client.ts";
import { sha256 } from "../statement/crypto.ts";
import { bounded, type DeveloperCore, signAsMaster, writeAt } from "./core.ts";

/** A namespace to claim. */
export type NamespaceOrder = {
  /** The domain of the registry. */
  readonly registry: string;
  /** The namespace, e.g. `alice`. */
  readonly namespace: string;
  /** Public keys of the Guardians, for identity recovery; can't be changed later. */
  readonly guardians?: readonly Uint8Array[];
  /** Where the registry sends the code that activates the namespace, if it asks for one. Kept privately. */
  readonly contactEmail?: string;
  /** Public, and not verified by anyone. */
  readonly website?: string;
  /** Public, and not verified by anyone. */
  readonly organization?: string;
};

const SALT_LENGTH = 32;

/** Claims a namespace for the Master key. It may have to be activated with a code. */
export async function claimNamespace(core: DeveloperCore, order: NamespaceOrder): Promise<Namespace> {
  const registry = core.connections.registries.forDomain(order.registry);
  const contact = order.contactEmail === undefined ? undefined : contactOf(core, order.contactEmail);
  const { website = "", organization = "" } = order;
  const statement = signAsMaster(core, NamespaceClaimSchema, order.registry, {
    publicKey: core.masterKey.publicKey,
    algorithm: KeyAlgorithm.ED25519,
    guardianPublicKeys: [...(order.guardians ?? [])],
    namespaceClaim: order.namespace,
    ...(contact !== undefined && { contactCommitment: sha256(concatBytes(contact.salt, utf8(contact.email))) }),
    ...((website !== "" || organization !== "") && { metadata: { website, organization } }),
  });
  bounded(ClaimNamespaceRequestSchema, {
    statement,
    ...(contact !== undefined && { contactEmail: contact.email, contactSalt: contact.salt }),
  });
  return (await writeAt(core, registry, statement, (claim) => registry.claimNamespace(claim, contact))).value;
}

/** Has the registry send another code to the contact; the codes before it no longer count. */
export async function resendActivationCode(
  core: DeveloperCore,
  order: { readonly registry: string; readonly namespace: string },
): Promise<Namespace> {
  const registry = core.connections.registries.forDomain(order.registry);
  const { namespace } = order;
  const statement = signAsMaster(core, ActivationCodeRequestSchema, order.registry, { namespace });
  return (await writeAt(core, registry, statement, (request) => registry.resendActivationCode(request))).value;
}

/** Gives the code that the registry sent to the contact. */
export async function activateNamespace(
  core: Pick<DeveloperCore, "connections">,
  order: { readonly registry: string; readonly namespace: string; readonly code: string },
): Promise<Namespace> {
  const registry = core.connections.registries.forDomain(order.registry);
  const { namespace, code } = bounded(ActivateNamespaceRequestSchema, { namespace: order.namespace, code: order.code });
  return (await registry.activateNamespace(namespace, code)).value;
}

/** The salt keeps the public commitment from being compared with addresses that are guessed. */
function contactOf(core: DeveloperCore, email: string): Contact {
  return { email, salt: core.random(SALT_LENGTH) };
}
