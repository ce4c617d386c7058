import { RegistryKeyListSchema } from "../../../gen/omi/registry/v1/registry_pb.ts";
import type { ListRegistryKeysRequest } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import type { Facts } from "../answers.ts";
import type { ReadCore } from "../core.ts";
import { decodeStatement } from "../keyring.ts";
import { registrySubject } from "../subjects.ts";

const pageSize = 16;

/** The greatest version that the file can hold; nothing comes after it. */
const maxVersion = 2n ** 63n - 1n;

/** Lists the registry's key sets after a version. */
export function listRegistryKeys(
  core: ReadCore,
  { afterVersion }: ListRegistryKeysRequest,
): Facts<typeof RegistryKeyListSchema> {
  const keySets = afterVersion >= maxVersion ? [] : core.store.keySets(afterVersion, pageSize);
  return {
    schema: RegistryKeyListSchema,
    message: { domain: core.domain, keySets: keySets.map(decodeStatement) },
    appSequence: 0,
    configEpoch: 0,
    graceEnd: Number.POSITIVE_INFINITY,
    subjects: [registrySubject],
  };
}
