import { RegistryAnswerSchema } from "../../../gen/omi/registry/v1/registry_pb.ts";
import type { Facts } from "../answers.ts";
import type { ReadCore } from "../core.ts";
import { publishedKeySet } from "../publish-keys.ts";
import { registrySubject } from "../subjects.ts";

/** Reads the registry's description of itself. */
export function resolveRegistry(core: ReadCore): Facts<typeof RegistryAnswerSchema> {
  const { policy } = core;
  return {
    schema: RegistryAnswerSchema,
    message: {
      domain: core.domain,
      registryKeys: publishedKeySet(core.store),
      freshnessWindowSeconds: policy.freshnessWindowSeconds,
      defaultGracePeriodSeconds: policy.defaultGracePeriodSeconds,
      minGracePeriodSeconds: policy.minGracePeriodSeconds,
      maxGracePeriodSeconds: policy.maxGracePeriodSeconds,
      activationPolicy: policy.activationPolicy,
      logSize: BigInt(core.log.head().index),
    },
    appSequence: 0,
    configEpoch: 0,
    graceEnd: Number.POSITIVE_INFINITY,
    subjects: [registrySubject],
  };
}
