import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { EndorsementSchema, ServiceBindingSchema, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Random } from "../core/random.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Binding } from "../directory/registry-client.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { signStatement } from "../statement/statement.ts";
import { proveKeyPossession } from "../tenancy/key-possession.ts";
import { headerForRegistryOf, registryDomainOf } from "../tenancy/request-header.ts";
import type { Provision } from "./provisions.ts";

/**
 * The ServiceBinding of an order: the developer's proof, the provider's endorsement and the new key's possession in one
 * Statement by that key. It may be signed anew as often as it takes: one proof binds one key, and binding the same key by
 * the same proof again changes nothing.
 *
 * @param now Unix seconds
 */
export function signBinding(
  { appId, serviceId, serviceType, publicKey, endpointUrl, proof, proofId }: Provision,
  {
    serviceKey,
    providerKey,
    now,
    random,
  }: { serviceKey: SigningKey; providerKey: SigningKey; now: number; random: Random },
): Statement {
  const header = () => headerForRegistryOf(appId, now, random);
  const endorsement = signStatement(
    EndorsementSchema,
    { header: header(), appId, serviceId, publicKey, endpointUrl, proofId },
    providerKey,
  );
  const keyPossession = proveKeyPossession({ appId, serviceId }, serviceKey, { role: KeyRole.SERVICE, now, random });
  return signStatement(
    ServiceBindingSchema,
    {
      header: header(),
      appId,
      serviceId,
      serviceType,
      publicKey,
      endpointUrl,
      developerProof: proof,
      endorsement,
      keyPossession,
    },
    serviceKey,
  );
}

/**
 * Checks that a registry's answer is about the binding that was sent. The service may have been suspended or unbound
 * since; then it has no keys.
 *
 * @throws Refusal ANSWER_INVALID
 */
export function checkBinding({ service, context }: Binding, provision: Provision): void {
  const active = service.keys.find(({ status }) => status === KeyStatus.ACTIVE);
  const problem =
    service.appId !== provision.appId || service.serviceId !== provision.serviceId
      ? "answer.service"
      : service.status === ServiceStatus.ACTIVE && !isKey(active?.publicKey, provision.publicKey)
        ? "answer.service.keys"
        : context.appId !== provision.appId
          ? "answer.context.app_id"
          : undefined;
  if (problem === undefined) return;
  throw new Refusal(Reason.ANSWER_INVALID, "the registry's answer is about another binding", {
    metadata: { field: problem, domain: registryDomainOf(provision.appId) },
  });
}

function isKey(key: Uint8Array | undefined, expected: Uint8Array): boolean {
  return key !== undefined && equalBytes(key, expected);
}
