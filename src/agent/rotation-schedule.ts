import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import type { Views } from "../directory/views.ts";
import type { CurrentKey } from "../tenancy/service-keys.ts";
import type { Tenancy } from "../tenancy/tenancy.ts";

/** How often Service keys are rotated by themselves. */
export type RotationSchedule = {
  /** The greatest age of a key, in seconds. */
  readonly everySeconds: number;
  /** How long the old key stays in grace, in seconds. The registry's default if left out. */
  readonly gracePeriodSeconds?: number;
};

/** The part of the greatest age by which keys are rotated earlier than that, at most. */
const SPREAD = 0.1;

/**
 * True if a key is due. Keys that were made at the same time become due at different times, so that a registry isn't asked
 * for all rotations at once. Public keys are as good as random, so each brings its own spread, the same at every look.
 *
 * @param now Unix seconds
 */
export function isDue(
  { publicKey, since }: Pick<CurrentKey, "publicKey" | "since">,
  everySeconds: number,
  now: number,
): boolean {
  const spread = ((publicKey[0] ?? 0) / 256) * SPREAD;
  return now - since >= everySeconds * (1 - spread);
}

/** Rotates the keys that are due. What fails is logged, and due again the next time. */
export async function rotateDueKeys(tenancy: Tenancy, views: Views, schedule: RotationSchedule): Promise<void> {
  const { tenants, keys, rotation, clock, logger } = tenancy;
  const { everySeconds, gracePeriodSeconds = 0 } = schedule;
  const now = unixSeconds(clock);
  for (const current of keys.currentBefore(now - everySeconds * (1 - SPREAD))) {
    const tenant = { appId: current.appId, serviceId: current.serviceId };
    if (!isDue(current, everySeconds, now) || tenants.get(tenant)?.state !== "ACTIVE") continue;
    // It may have been rotated while others were.
    if (keys.currentId(tenant) !== current.keyId) continue;
    try {
      // The keys of a suspended or unbound service don't count, and can't be rotated.
      if ((await views.service(tenant.appId, tenant.serviceId)).status !== ServiceStatus.ACTIVE) continue;
      await rotation.rotate(tenant, { gracePeriodSeconds, immediate: false });
    } catch (error) {
      logger.warn({ ...tenant, err: error }, "a Service key is due and could not be rotated");
    }
  }
}
