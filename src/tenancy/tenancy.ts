import type { ConnectRouter } from "@connectrpc/connect";
import type { Logger } from "pino";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import type { Clock } from "../core/clock.ts";
import { type Failpoint, noFailpoints } from "../core/failpoint.ts";
import type { Random } from "../core/random.ts";
import type { Registries } from "../directory/registries.ts";
import { boundedRequests } from "../rpc/handlers/bounds.ts";
import { DEFAULT_WINDOW, type FreshnessWindow } from "../statement/freshness.ts";
import type { Database } from "../store/database.ts";
import { Nonces } from "../store/nonces.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import { Admission } from "./admission.ts";
import { KeyedMutex } from "./keyed-mutex.ts";
import { MasterOrders } from "./master-order.ts";
import { KeyRotation } from "./rotation.ts";
import { Rotations } from "./rotations.ts";
import { rotateServiceKey } from "./rpc/rotate-service-key.ts";
import { terminateService } from "./rpc/terminate-service.ts";
import { ServiceKeys } from "./service-keys.ts";
import type { Provider, TenancyState } from "./state.ts";
import { Tenants } from "./tenants.ts";
import { TenantTermination, type TerminationOptions } from "./termination.ts";

/** What {@link createTenancy} needs. */
export type TenancyOptions = TerminationOptions & {
  readonly provider: Provider;
  /** The part's database, with the tables of `noncesMigration` and `tenancyMigration`. */
  readonly db: Database;
  /** The part's write queue; give it the same failpoint. */
  readonly writes: WriteQueue;
  readonly registries: Registries;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** See `rotationFailpoints` and `terminationFailpoints`. */
  readonly failpoint?: Failpoint;
  /** How far an order's time may be from now; 300 s either way if left out. */
  readonly window?: FreshnessWindow;
  /** See `TenancyState.onConfigEpoch`. */
  readonly onConfigEpoch?: (appId: string, epoch: bigint) => void;
};

/** What a provider with tenants has: the tenants, their Service keys, and what developers can order for them. */
export type Tenancy = TenancyState & {
  /** Opens orders of developers, for the part's own RPCs as well. */
  readonly orders: MasterOrders;
  readonly rotation: KeyRotation;
  readonly termination: TenantTermination;
  /** Serves `TenancyService`. */
  routes(router: ConnectRouter): void;
  /** Finishes what a crash or an unreachable registry left unfinished. What still can't be is logged. */
  resume(): Promise<void>;
};

/** Builds the tenancy of a part on the part's own database. */
export function createTenancy(options: TenancyOptions): Tenancy {
  const { provider, db, writes, registries, clock, random, logger, window = DEFAULT_WINDOW } = options;
  const keys = new ServiceKeys(db, random);
  const nonces = new Nonces(db, Math.max(window.pastSeconds, window.futureSeconds));
  const state: TenancyState = {
    provider,
    registries,
    clock,
    random,
    logger,
    failpoint: options.failpoint ?? noFailpoints,
    writes,
    tenants: new Tenants(db),
    keys,
    rotations: new Rotations(db),
    admission: new Admission({ nonces, clock, window }),
    locks: new KeyedMutex(),
    onConfigEpoch: options.onConfigEpoch ?? (() => {}),
  };
  const orders = new MasterOrders({
    domain: provider.domain,
    registries,
    otherKey: (keyId) => (keyId === provider.key.keyId ? provider.key.publicKey : keys.publicKey(keyId)),
  });
  const rotation = new KeyRotation(state);
  const termination = new TenantTermination(state, rotation, options);
  return {
    ...state,
    orders,
    rotation,
    termination,
    routes(router) {
      router.service(
        TenancyService,
        {
          rotateServiceKey: rotateServiceKey(orders, rotation, state),
          terminateService: terminateService(orders, termination),
        },
        { interceptors: [boundedRequests()] },
      );
    },
    async resume() {
      await termination.resume();
      await rotation.resume();
    },
  };
}
