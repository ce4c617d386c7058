import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { BillingService } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import {
  DirectoryEntrySchema,
  type DirectoryKey,
  DirectoryKeySchema,
  Party,
} from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import type { Clock } from "../core/clock.ts";
import { isAtOrBelow } from "../core/domain.ts";
import { type Failpoint, noFailpoints } from "../core/failpoint.ts";
import type { Logger } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import { parseUrl } from "../core/url.ts";
import type { Registries } from "../directory/registries.ts";
import type { Views } from "../directory/views.ts";
import { wellKnownRoute } from "../directory/well-known.ts";
import type { EventCarrier } from "../events/carrier.ts";
import { subscriberRoutes } from "../events/subscriber/get-subscription.ts";
import { createSubscriber } from "../events/subscriber/subscriber.ts";
import { createWatchCarrier } from "../events/watch-carrier.ts";
import { boundedRequests } from "../rpc/handlers/bounds.ts";
import type { HttpRoute } from "../rpc/http/http-routes.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { DEFAULT_WINDOW } from "../statement/freshness.ts";
import { openDatabase } from "../store/database.ts";
import { Nonces } from "../store/nonces.ts";
import { WriteQueue } from "../store/write-queue.ts";
import { Admission } from "../tenancy/admission.ts";
import { MasterOrders } from "../tenancy/master-order.ts";
import { ServiceCallers } from "../tenancy/service-callers.ts";
import { Accounts } from "./accounts.ts";
import { applyEvent } from "./apply-event.ts";
import type { BillingCore } from "./core.ts";
import { billingMigrations } from "./migrations.ts";
import { readBill } from "./rpc/read-bill.ts";
import { reportUsage } from "./rpc/report-usage.ts";

/** What a Billing provider is made of. */
export type BillingOptions = {
  /** Its domain, e.g. `billing.example`. */
  readonly domain: string;
  /** Signs its bills. */
  readonly providerKey: SigningKey;
  /** All Provider keys that the domain publishes. The one that signs, without end, if left out. */
  readonly publishedKeys?: readonly DirectoryKey[];
  /** Where its server is reached from outside, a URL at or below its domain: what apps' backbones name. */
  readonly baseUrl: string;
  /** Its SQLite file; `:memory:` for none. */
  readonly databaseFile: string;
  readonly registries: Registries;
  /** What services are let in by; made to go by the events that Billing listens to. */
  readonly views: Views;
  /** How events come. By Watch if left out. */
  readonly carrier?: EventCarrier;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** How old the latest signed head of an app may be, in seconds; 10 if left out. */
  readonly maxHeadAgeSeconds?: number;
  /** See `billingFailpoints`. */
  readonly failpoint?: Failpoint;
};

/** A Billing provider, to be mounted on a server. */
export type Billing = {
  /** Serves BillingService and SubscriberService. */
  routes(router: ConnectRouter): void;
  /** Serves the provider's directory entry. */
  readonly httpRoutes: readonly HttpRoute[];
  /** Begins to listen to the apps that have open accounts. */
  start(): Promise<void>;
  /** Stops listening, commits what waits and closes the file. */
  stop(): Promise<void>;
};

/**
 * Opens a Billing provider's file.
 *
 * @throws RangeError if the base URL is not at or below the domain
 * @throws UnusableFileError if the file can't be opened, is no database, or is from a newer version
 */
export function createBilling(options: BillingOptions): Billing {
  const { domain, providerKey, baseUrl, registries, views, clock, random, logger, failpoint = noFailpoints } = options;
  const host = parseUrl(baseUrl, () => true)?.host;
  if (host === undefined || !isAtOrBelow(host, domain)) {
    throw new RangeError(`the base URL must be at or below ${domain}`);
  }
  const db = openDatabase(options.databaseFile, billingMigrations);
  const writes = new WriteQueue(db, { failpoint });
  const accounts = new Accounts(db);
  const subscriber = createSubscriber({
    db,
    writes,
    registries,
    carrier: options.carrier ?? createWatchCarrier({ registries, clock, random, logger }),
    clock,
    random,
    logger,
    failpoint,
    ...(options.maxHeadAgeSeconds !== undefined && { maxAgeSeconds: options.maxHeadAgeSeconds }),
    apply: (event) => applyEvent(accounts, event),
  });
  views.follow(subscriber);
  const nonces = new Nonces(db, Math.max(DEFAULT_WINDOW.pastSeconds, DEFAULT_WINDOW.futureSeconds));
  const core: BillingCore = {
    provider: { domain, key: providerKey },
    baseUrl,
    clock,
    writes,
    accounts,
    callers: new ServiceCallers({ views, clock }),
    orders: new MasterOrders({
      domain,
      registries,
      otherKey: (keyId) => (keyId === providerKey.keyId ? providerKey.publicKey : undefined),
    }),
    admission: new Admission({ nonces, clock }),
    subscriber,
  };
  const ownKey = create(DirectoryKeySchema, { publicKey: providerKey.publicKey, algorithm: KeyAlgorithm.ED25519 });
  const entry = create(DirectoryEntrySchema, {
    domain,
    party: Party.BILLING_PROVIDER,
    baseUrl,
    keys: [...(options.publishedKeys ?? [ownKey])],
  });
  return {
    routes(router) {
      router.service(
        BillingService,
        { reportUsage: reportUsage(core), readBill: readBill(core) },
        { interceptors: [boundedRequests()] },
      );
      subscriberRoutes(router, subscriber);
    },
    httpRoutes: [wellKnownRoute(() => entry)],
    async start() {
      for (const appId of accounts.openApps()) subscriber.add(appId);
      await subscriber.start();
    },
    async stop() {
      await subscriber.stop();
      writes.close();
      db.close();
    },
  };
}
