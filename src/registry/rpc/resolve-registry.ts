import { RegistryAnswerSchema } from "../../../gen/omi/registry/v1/registry_pb.ts";
import {
  type ResolveRegistryRequest,
  ResolveRegistryRequestSchema,
} from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { header, queryOf, sign } from "../answers.ts";
import { type RegistryCore, registryTime } from "../core.ts";
import { publishedKeySet } from "../publish-keys.ts";

/** Reads the registry's description of itself. */
export function resolveRegistry(core: RegistryCore, request: ResolveRegistryRequest) {
  const now = registryTime(core);
  const { policy } = core;
  const answer = sign(core, RegistryAnswerSchema, now, {
    header: header(now, queryOf(ResolveRegistryRequestSchema, request)),
    domain: core.domain,
    registryKeys: publishedKeySet(core.store),
    freshnessWindowSeconds: policy.freshnessWindowSeconds,
    defaultGracePeriodSeconds: policy.defaultGracePeriodSeconds,
    minGracePeriodSeconds: policy.minGracePeriodSeconds,
    maxGracePeriodSeconds: policy.maxGracePeriodSeconds,
    activationPolicy: policy.activationPolicy,
    logSize: BigInt(core.log.head().index),
  });
  return { answer };
}
