import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { ProvisionServiceSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import {
  EndorsementSchema,
  KeyPossessionSchema,
  RotationSchema,
  ServiceBindingSchema,
} from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { systemClock, unixSeconds } from "../core/clock.ts";
import { systemRandom } from "../core/random.ts";
import { createSigningKey, type SigningKey } from "../statement/crypto.ts";
import { signStatement, statementId } from "../statement/statement.ts";

/** The fields of a message but its header. */
type Fields<Desc extends DescMessage> = Omit<MessageInitShape<Desc>, "header" | "$typeName" | "$unknown">;

/** A new key pair. */
export function newKey(): SigningKey {
  return createSigningKey(systemRandom(32));
}

/** Signs a message for `audience`, now and with a new nonce, by hand: what a vendor does with generated code alone. */
export function signFor<Desc extends DescMessage>(
  audience: string,
  schema: Desc,
  fields: Fields<Desc>,
  key: SigningKey,
  nonce: Uint8Array = systemRandom(16),
): Statement {
  const header = { audience, timestamp: BigInt(unixSeconds(systemClock)), nonce };
  return signStatement(schema, { ...fields, header } as unknown as MessageInitShape<Desc>, key);
}

/** Which service of which app. */
export interface ServiceRef {
  registry: string;
  appId: string;
  serviceId: string;
}

/** A developer's order to a provider. */
export function signOrder(
  { appId, serviceId }: ServiceRef,
  provider: { domain: string; keyId: string },
  master: SigningKey,
): Statement {
  const fields = {
    appId,
    serviceId,
    targetProvider: provider.domain,
    providerKeyId: provider.keyId,
    serviceType: "cms-article",
    expiresAt: BigInt(unixSeconds(systemClock) + 600),
  };
  return signFor(provider.domain, ProvisionServiceSchema, fields, master);
}

/** A binding of `key`, endorsed by `endorser`. */
export function signBinding(
  service: ServiceRef,
  order: Statement,
  key: SigningKey,
  endorser: SigningKey,
  endpointUrl: string,
): Statement {
  const { registry, appId, serviceId } = service;
  const common = { appId, serviceId, publicKey: key.publicKey };
  const endorsement = { ...common, endpointUrl, proofId: statementId(order) };
  const binding = {
    ...common,
    serviceType: "cms-article",
    endpointUrl,
    developerProof: order,
    endorsement: signFor(registry, EndorsementSchema, endorsement, endorser),
    keyPossession: signPossession(service, key, ""),
  };
  return signFor(registry, ServiceBindingSchema, binding, key);
}

/** A rotation from `key` to `next`. */
export function signRotation(
  service: ServiceRef,
  key: SigningKey,
  next: SigningKey,
  gracePeriodSeconds: number,
): Statement {
  const { registry, appId, serviceId } = service;
  const rotation = {
    appId,
    serviceId,
    newPublicKey: next.publicKey,
    keyPossession: signPossession(service, next, key.keyId),
    gracePeriodSeconds,
    context: "key_rotation",
  };
  return signFor(registry, RotationSchema, rotation, key);
}

function signPossession({ registry, appId, serviceId }: ServiceRef, key: SigningKey, previousKeyId: string): Statement {
  const possession = {
    appId,
    serviceId,
    role: KeyRole.SERVICE,
    publicKey: key.publicKey,
    algorithm: KeyAlgorithm.ED25519,
    previousKeyId,
  };
  return signFor(registry, KeyPossessionSchema, possession, key);
}
