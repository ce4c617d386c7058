import { type KeyRecord, KeyStatus, type OperationalContext } from "../../gen/omi/registry/v1/app_pb.ts";
import type { KeyPair } from "./key-pairs.ts";

/**
 * What the app's registry says of a pair:
 *
 * - `active`: announced, and its Auth key is the app's User Validator;
 * - `grace`: replaced, but tokens that it signed are accepted for a while;
 * - `pending`: not announced yet;
 * - `over`: was announced once and counts no more, or the app's configuration went on without it.
 */
export type Announcement = "active" | "grace" | "pending" | "over";

/**
 * Compares a pair with the app's Operational Context. An announcement always raises the config epoch, so a pair that isn't
 * listed at the epoch it was made in was never announced; at a later epoch it may have been, and a key that once was
 * announced never comes back.
 *
 * @param context as a verified answer holds it; one that is older than the pair doesn't know it yet
 * @param now Unix seconds
 */
export function announcementOf(pair: KeyPair, context: OperationalContext | undefined, now: number): Announcement {
  const record = context?.authKeys.find(({ keyId }) => keyId === pair.authKeyId);
  if (record !== undefined) return listed(record, now);
  return (context?.configEpoch ?? 0n) <= pair.configEpoch ? "pending" : "over";
}

function listed({ status, notAfter }: KeyRecord, now: number): Announcement {
  if (status === KeyStatus.ACTIVE) return "active";
  return status === KeyStatus.GRACE && BigInt(now) < notAfter ? "grace" : "over";
}
