import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyPossessionSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { fieldInvalid } from "../core/field-invalid.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { providerKey } from "../directory/directory.ts";
import { checkAudience } from "../statement/audience.ts";
import { checkFreshness } from "../statement/freshness.ts";
import { nestedMaxAgeOf } from "../statement/signable.ts";
import { type OpenedRequest, openRequest, verifySignature } from "../statement/statement.ts";
import type { RegistryCore } from "./core.ts";
import { requireSame } from "./rules/authority.ts";
import { ownSigner } from "./signers.ts";

/**
 * Opens a statement that is nested in another one. It spends no nonce, and has no freshness window but the age limit that
 * the contract gives its type.
 *
 * @param field where it is nested, for refusals
 * @param audience the domain that it must be meant for, which may follow from the message
 */
export function openNested<Desc extends DescMessage>(
  core: RegistryCore,
  schema: Desc,
  statement: Statement | undefined,
  field: string,
  audience: string | ((message: MessageShape<Desc>) => string),
  now: number,
): OpenedRequest<Desc> {
  const opened = openRequest(schema, requirePresent(statement, field), { field, allowPlainHttp: core.allowPlainHttp });
  checkAudience(opened, typeof audience === "string" ? audience : audience(opened.message));
  checkFreshness(opened, now, {
    pastSeconds: nestedMaxAgeOf(schema),
    futureSeconds: core.policy.freshnessWindowSeconds,
  });
  return opened;
}

/** A field of the request that its bounds say is there. */
export function requirePresent<T>(value: T | undefined, field: string): T {
  if (value !== undefined) return value;
  throw fieldInvalid(field, "required");
}

/** What a proof of possession must say. */
export interface ExpectedPossession {
  appId: string;
  serviceId: string;
  role: KeyRole;
  publicKey: Uint8Array;
  /** The ID of the key that is replaced; empty if none is. */
  previousKeyId: string;
}

/** Verifies that somebody holds the private half of a new key, for this use of it and no other. */
export async function verifyPossession(
  core: RegistryCore,
  statement: Statement | undefined,
  field: string,
  expected: ExpectedPossession,
  now: number,
): Promise<void> {
  const opened = openNested(core, KeyPossessionSchema, statement, field, core.domain, now);
  const possession = opened.message;
  const at = (name: string) => `${field}.${name}`;
  requireSame(equalBytes(possession.publicKey, expected.publicKey), at("public_key"), "the new key");
  requireSame(possession.appId === expected.appId, at("app_id"), "app_id");
  requireSame(possession.serviceId === expected.serviceId, at("service_id"), "service_id");
  requireSame(possession.role === expected.role, at("role"), "the role that the key is for");
  requireSame(possession.previousKeyId === expected.previousKeyId, at("previous_key_id"), "the key that is replaced");
  await verifySignature(opened, ownSigner(opened, possession.publicKey));
}

/** A Provider key and where its provider's RPCs are. */
export interface KnownProvider {
  publicKey: Uint8Array;
  baseUrl: string;
}

/**
 * The Provider key of a domain, from the directory; never from what the provider's customers say.
 *
 * @throws Refusal PROVIDER_UNKNOWN
 */
export async function lookUpProvider(
  core: RegistryCore,
  domain: string,
  keyId: string,
  now: number,
): Promise<KnownProvider> {
  const entry = await core.directory.lookup(domain);
  const publicKey = providerKey(entry, keyId, now);
  if (publicKey === undefined) {
    throw new Refusal(Reason.PROVIDER_UNKNOWN, "the provider's directory entry has no valid key with this ID", {
      metadata: { domain },
    });
  }
  return { publicKey, baseUrl: entry.baseUrl };
}
