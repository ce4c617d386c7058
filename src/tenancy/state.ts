import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { Failpoint } from "../core/failpoint.ts";
import type { Random } from "../core/random.ts";
import type { Registries } from "../directory/registries.ts";
import type { SigningKey } from "../statement/crypto.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import type { Admission } from "./admission.ts";
import type { KeyedMutex } from "./keyed-mutex.ts";
import type { Rotations } from "./rotations.ts";
import type { ServiceKeys } from "./service-keys.ts";
import type { Tenants } from "./tenants.ts";

/** A provider: its domain, and the Provider key that it signs with. */
export type Provider = { readonly domain: string; readonly key: SigningKey };

/** What the flows of this room, and those of the part that has the tenants, work on together. */
export type TenancyState = {
  readonly provider: Provider;
  readonly registries: Registries;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly failpoint: Failpoint;
  readonly writes: WriteQueue;
  readonly tenants: Tenants;
  readonly keys: ServiceKeys;
  readonly rotations: Rotations;
  readonly admission: Admission;
  /** One lock for each tenant, by `tenantKey`: what happens to one tenant happens one after the other. */
  readonly locks: KeyedMutex;
  /** Told the config epoch that came beside an answer, unsigned: a hint that there may be something new to read. */
  readonly onConfigEpoch: (appId: string, epoch: bigint) => void;
};
