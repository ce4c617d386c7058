import { create } from "@bufbuild/protobuf";
import type { ConnectRouter, Interceptor, Transport } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import {
  DirectoryEntrySchema,
  type DirectoryKey,
  DirectoryKeySchema,
  Party,
} from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import type { OperationalContext } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Clock } from "../core/clock.ts";
import { type Failpoint, noFailpoints } from "../core/failpoint.ts";
import type { Random } from "../core/random.ts";
import { type Repeated, repeat } from "../core/repeat.ts";
import type { Connections } from "../directory/connections.ts";
import type { Registries } from "../directory/registries.ts";
import type { Views } from "../directory/views.ts";
import { wellKnownRoute } from "../directory/well-known.ts";
import type { EventCarrier } from "../events/carrier.ts";
import { subscriberRoutes } from "../events/subscriber/get-subscription.ts";
import { createSubscriber } from "../events/subscriber/subscriber.ts";
import { createWatchCarrier } from "../events/watch-carrier.ts";
import { answerRefusals } from "../rpc/handlers/answer-refusals.ts";
import { boundedRequests } from "../rpc/handlers/bounds.ts";
import { routerWithin } from "../rpc/handlers/router.ts";
import type { HttpRoute } from "../rpc/http/http-routes.ts";
import type { FreshnessWindow } from "../statement/freshness.ts";
import { openDatabase } from "../store/database.ts";
import { WriteQueue } from "../store/write-queue.ts";
import type { RotationOutcome, RotationRequest } from "../tenancy/rotations.ts";
import { Standings } from "../tenancy/standings.ts";
import type { Provider } from "../tenancy/state.ts";
import { createTenancy } from "../tenancy/tenancy.ts";
import type { TenantId } from "../tenancy/tenants.ts";
import { accessInterceptor } from "./access.ts";
import { Authentication, type Caller } from "./authentication.ts";
import { ContextFlow } from "./context-flow.ts";
import { Contexts } from "./contexts.ts";
import type { AgentHooks } from "./hooks.ts";
import { agentMigrations } from "./migration.ts";
import { Peers } from "./peers.ts";
import { Provisioning } from "./provisioning.ts";
import { Provisions } from "./provisions.ts";
import { type RotationSchedule, rotateDueKeys } from "./rotation-schedule.ts";
import { provisionService } from "./rpc/provision-service.ts";
import type { CallTarget } from "./service-tokens.ts";
import { SessionFollower, type SessionsOptions } from "./session-follower.ts";
import { SessionRevocations } from "./session-revocations.ts";
import { type Usage, UsageReporting } from "./usage.ts";
import { UsageOutbox } from "./usage-outbox.ts";

/** What {@link createAgent} needs. */
export type AgentOptions = {
  readonly provider: Provider & {
    /** Where the agent's RPCs are served: a URL at or below the domain. */
    readonly baseUrl: string;
    /** All Provider keys that the domain publishes. The one that signs, without end, if left out. */
    readonly publishedKeys?: readonly DirectoryKey[];
  };
  /** The SQLite file of the agent's state, private keys among it; `:memory:` for none. */
  readonly databaseFile: string;
  readonly registries: Registries;
  /** What callers are let in by: at most 10 s old. */
  readonly views: Views;
  /** How the events of the tenants' apps get here. By `EventService.Watch` if left out. */
  readonly carrier?: EventCarrier;
  /** How old the latest signed head of an app may be while its tenants are served, in seconds; 10 if left out. */
  readonly maxHeadAgeSeconds?: number;
  /**
   * The ways to parties that are no registries. If left out, the agent calls none: its tenants get no service tokens,
   * reach no peers and report no usage.
   */
  readonly connections?: Pick<Connections, "transportFor" | "transportTo">;
  /** How the agent learns that users' sessions ended before their tokens expired. It doesn't without `connections`. */
  readonly sessions?: SessionsOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The service types on offer. */
  readonly serviceTypes: readonly string[];
  /** Where the service answers a tenant's users: a URL at or below the provider's domain. (`_` is for service IDs, not for hosts.) */
  readonly endpointUrl: (tenant: TenantId) => string;
  readonly hooks: AgentHooks;
  /** How the provider can handle a terminated tenant's data. Both ways if left out. */
  readonly dataHandling?: readonly DataHandling[];
  /** Rotates keys by themselves. Never if left out. */
  readonly rotation?: RotationSchedule;
  /** How far an order's time may be from now. 300 s either way if left out. */
  readonly window?: FreshnessWindow;
  /** See `failpoints.ts` here and in tenancy. */
  readonly failpoint?: Failpoint;
};

/** The agent: what makes a vendor's service one that developers can order, and users can call. */
export type Agent = {
  /** Serves AgentService, TenancyService and SubscriberService, on a server of `createServer` or any other Connect server. */
  routes(router: ConnectRouter): void;
  /** Serves the provider's well-known document. */
  readonly httpRoutes: readonly HttpRoute[];
  /**
   * Finishes what a crash or an unreachable registry left unfinished, and goes on doing so about once a minute; rotates keys
   * that are due; listens to the events of its tenants' apps. Resolves after the first time; what still can't be finished then is logged.
   */
  start(): Promise<void>;
  /** Ends what is being done in the background and closes the database. Close the server first. */
  stop(): Promise<void>;
  /**
   * Rotates a tenant's Service key now.
   *
   * @throws Refusal TENANT_UNKNOWN, TENANT_TERMINATED, REGISTRY_UNAVAILABLE or ANSWER_INVALID (to be resumed),
   *   REGISTRY_REFUSED {registry_reason}
   */
  rotate(tenant: TenantId, request?: Partial<RotationRequest>): Promise<RotationOutcome>;
  /** The context that a tenant last learned of its app. */
  context(tenant: TenantId): OperationalContext | undefined;
  /** See {@link Authentication.authenticate}. */
  authenticate(credentials: string | Headers): Promise<Caller>;
  /** A token with which a tenant may call another party of its app; see `ServiceTokens.get`. */
  serviceToken(tenant: TenantId, target: CallTarget): Promise<string>;
  /**
   * The way from a tenant to another party of its app; see {@link Peers.transport}.
   *
   * @example
   * const journal = createClient(ArticleService, agent.peer(tenant, { serviceId: "journal" }));
   */
  peer(tenant: TenantId, target: CallTarget): Transport;
  /** Reports what a tenant used to the billing services of its app; see {@link UsageReporting.report}. */
  reportUsage(tenant: TenantId, lines: readonly Usage[]): Promise<void>;
  /**
   * For the service's own RPCs; see {@link accessInterceptor}. Who called, handlers learn from `callerOf`.
   *
   * @example
   * router.service(ArticleService, articles, { interceptors: [agent.interceptor] });
   */
  readonly interceptor: Interceptor;
};

const MAINTENANCE_MS = 60_000;

/** Makes the agent of a vendor, on a database of its own. */
export function createAgent(options: AgentOptions): Agent {
  const { provider, databaseFile, registries, views, clock, random, logger, hooks } = options;
  const { failpoint = noFailpoints } = options;
  const db = openDatabase(databaseFile, agentMigrations);
  // Secret halves of keys that are done with are overwritten, not only unlinked.
  db.pragma("secure_delete = ON");
  const writes = new WriteQueue(db, { failpoint });
  const contexts = new Contexts(db);
  const standings = new Standings(db);
  const outbox = new UsageOutbox(db, random);
  const tenancy = createTenancy({
    ...options,
    db,
    writes,
    failpoint,
    async onTerminate(tenant, dataHandling) {
      await hooks.onTerminate(tenant, dataHandling);
      await usage?.settle(tenant);
    },
    onTerminated(tenant) {
      contexts.remove(tenant);
      outbox.dropTenant(tenant);
    },
    onConfigEpoch: (appId, epoch) => contextFlow.follow(appId, epoch),
  });
  const contextFlow = new ContextFlow({
    tenancy,
    contexts,
    views,
    async onContext(tenant, context) {
      await hooks.onContext(tenant, context);
      sessions?.follow(tenant.appId);
    },
  });
  const { serviceTypes, endpointUrl } = options;
  const provisions = new Provisions(db);
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
    apply(event) {
      if (tenancy.tenants.get(event) !== undefined) standings.apply(event);
      contexts.announce(event.appId, event.configEpoch);
    },
    applied({ appId, configEpoch }) {
      views.forget(appId);
      contextFlow.follow(appId, configEpoch);
    },
  });
  views.follow(subscriber);
  const provisioning = new Provisioning({
    tenancy,
    provisions,
    contexts,
    standings,
    listen: (appId) => subscriber.add(appId),
    contextFlow,
    hooks,
    serviceTypes,
    endpointUrl,
  });
  const peers = options.connections && new Peers({ tenancy, views, connections: options.connections });
  const usage = peers && new UsageReporting({ tenancy, outbox, contexts, peers });
  const sessions =
    peers &&
    options.connections &&
    new SessionFollower({
      ...options.sessions,
      tenancy,
      revocations: new SessionRevocations(db),
      views,
      connections: options.connections,
      tokens: peers.tokens,
      clock,
      random,
    });
  const authentication = new Authentication({
    tenants: tenancy.tenants,
    standings,
    contexts,
    contextFlow,
    views,
    clock,
    sessions,
  });
  const entry = create(DirectoryEntrySchema, {
    domain: provider.domain,
    party: Party.SERVICE_PROVIDER,
    baseUrl: provider.baseUrl,
    keys: [...(provider.publishedKeys ?? [publishedKey(provider)])],
  });

  /** Never rejects: what a database that can't be read keeps from being done is left to the next time. */
  async function maintain(): Promise<void> {
    try {
      await tenancy.resume();
      await provisioning.resume();
      await contextFlow.resume();
      if (options.rotation !== undefined) await rotateDueKeys(tenancy, views, options.rotation);
    } catch (error) {
      logger.error({ err: error }, "what was left unfinished could not be looked for");
    }
  }

  let starting: Promise<void> | undefined;
  let maintenance: Repeated | undefined;
  let stopping = false;

  async function begin(): Promise<void> {
    for (const state of ["PENDING", "ACTIVE", "TERMINATING"] as const) {
      for (const { appId } of tenancy.tenants.inState(state)) subscriber.add(appId);
    }
    await subscriber.start();
    await maintain();
    for (const { appId } of tenancy.tenants.inState("ACTIVE")) sessions?.follow(appId);
    usage?.resume();
    if (!stopping) maintenance = repeat(maintain, { everyMs: MAINTENANCE_MS, clock, random });
  }

  return {
    routes(anyRouter) {
      const router = routerWithin(anyRouter, [answerRefusals]);
      tenancy.routes(router);
      subscriberRoutes(router, subscriber);
      router.service(
        AgentService,
        { provisionService: provisionService(tenancy, provisioning) },
        { interceptors: [boundedRequests()] },
      );
    },
    httpRoutes: [wellKnownRoute(() => entry)],
    start() {
      starting ??= begin();
      return starting;
    },
    async stop() {
      stopping = true;
      // Why it could not start, whoever started it was told.
      await starting?.catch(() => {});
      await maintenance?.stop();
      await usage?.stop();
      await sessions?.stop();
      await subscriber.stop();
      await contextFlow.idle();
      writes.close();
      db.close();
    },
    rotate: ({ appId, serviceId }, { gracePeriodSeconds = 0, immediate = false } = {}) =>
      tenancy.rotation.rotate({ appId, serviceId }, { gracePeriodSeconds, immediate }),
    context: (tenant) => contexts.get(tenant)?.context,
    authenticate: async (credentials) => authentication.authenticate(credentials),
    serviceToken: async (tenant, target) => given(peers).tokens.get(tenant, target),
    peer: (tenant, target) => given(peers).transport(tenant, target),
    reportUsage: async (tenant, lines) => given(usage).report(tenant, lines),
    interceptor: (next) => answerRefusals(accessInterceptor(authentication)(next)),
  };
}

function given<T>(part: T | undefined): T {
  if (part === undefined) throw new Error("the agent has no connections to parties that are no registries");
  return part;
}

function publishedKey({ key }: Provider): DirectoryKey {
  return create(DirectoryKeySchema, { publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519 });
}
