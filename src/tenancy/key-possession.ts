import { KeyAlgorithm, type KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyPossessionSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { Random } from "../core/random.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { signStatement } from "../statement/statement.ts";
import { headerForRegistryOf } from "./request-header.ts";
import type { TenantId } from "./tenants.ts";

/**
 * Proves to the registry that a new key's private half is held here. Counts for 300 seconds.
 *
 * @param previousKeyId in a rotation, the ID of the key that the new one replaces; otherwise empty
 */
export function proveKeyPossession(
  { appId, serviceId }: TenantId,
  key: SigningKey,
  { role, previousKeyId = "", now, random }: { role: KeyRole; previousKeyId?: string; now: number; random: Random },
): Statement {
  return signStatement(
    KeyPossessionSchema,
    {
      header: headerForRegistryOf(appId, now, random),
      appId,
      serviceId,
      role,
      publicKey: key.publicKey,
      algorithm: KeyAlgorithm.ED25519,
      previousKeyId,
    },
    key,
  );
}
