import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Logger } from "pino";
import { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { AuthProviderService, UserService } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { SessionService } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { ServiceTokenService } from "../../gen/omi/auth/v1/token_service_pb.ts";
import {
  DirectoryEntrySchema,
  type DirectoryKey,
  DirectoryKeySchema,
  Party,
} from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import type { Clock } from "../core/clock.ts";
import { type Failpoint, noFailpoints } from "../core/failpoint.ts";
import type { Random } from "../core/random.ts";
import { type Repeated, repeat } from "../core/repeat.ts";
import type { Registries } from "../directory/registries.ts";
import type { Views } from "../directory/views.ts";
import { wellKnownRoute } from "../directory/well-known.ts";
import type { EventCarrier } from "../events/carrier.ts";
import { type Outbox, startOutbox } from "../events/outbox.ts";
import type { Publisher } from "../events/publisher.ts";
import { subscriberRoutes } from "../events/subscriber/get-subscription.ts";
import { createSubscriber } from "../events/subscriber/subscriber.ts";
import { createWatchCarrier } from "../events/watch-carrier.ts";
import { WatchHub } from "../events/watch-hub.ts";
import { boundedRequests } from "../rpc/handlers/bounds.ts";
import type { HttpRoute } from "../rpc/http/http-routes.ts";
import { type OpenStream, type ReadyStreams, serveReadyStream } from "../rpc/ready/ready-streams.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { openDatabase } from "../store/database.ts";
import { Throttle, type ThrottleLimit } from "../store/throttle.ts";
import { WriteQueue } from "../store/write-queue.ts";
import { rotateServiceKey } from "../tenancy/rpc/rotate-service-key.ts";
import { terminateService } from "../tenancy/rpc/terminate-service.ts";
import { ServiceCallers } from "../tenancy/service-callers.ts";
import { Standings } from "../tenancy/standings.ts";
import { createTenancy } from "../tenancy/tenancy.ts";
import { AppViews } from "./app-views.ts";
import { type AttemptScope, Attempts } from "./attempts.ts";
import type { AuthCore } from "./core.ts";
import { documentRoutes } from "./documents.ts";
import { createIssuer } from "./issuer.ts";
import { KeyPairs } from "./key-pairs.ts";
import { authMigrations } from "./migrations.ts";
import { AuthOrders } from "./orders.ts";
import { DEFAULT_PASSWORD_COST, type PasswordCost } from "./password.ts";
import { Passwords } from "./passwords.ts";
import { issueServiceToken } from "./rpc/issue-service-token.ts";
import { provisionAuth } from "./rpc/provision-auth.ts";
import { refreshToken } from "./rpc/refresh-token.ts";
import { signIn } from "./rpc/sign-in.ts";
import { signOut } from "./rpc/sign-out.ts";
import { signUp } from "./rpc/sign-up.ts";
import { watchSessions } from "./rpc/watch-sessions.ts";
import { SessionEvents } from "./session-events.ts";
import { sessionOutboxSource } from "./session-outbox.ts";
import { Sessions } from "./sessions.ts";
import { TokenIssuer } from "./token-issuer.ts";
import { Users } from "./users.ts";

/** What an Auth Provider is made of. */
export type AuthProviderOptions = {
  /** Its domain, e.g. `auth.example`. */
  readonly domain: string;
  /** Signs its answers. */
  readonly providerKey: SigningKey;
  /** All Provider keys that the domain publishes. The one that signs, without end, if left out. */
  readonly publishedKeys?: readonly DirectoryKey[];
  /** Where its server is reached from outside: a URL at or below its domain. */
  readonly baseUrl: string;
  /** Its SQLite file, which holds private keys; `:memory:` for none. */
  readonly databaseFile: string;
  readonly registries: Registries;
  readonly views: Views;
  /** How the events of the tenants' apps get here. By `EventService.Watch` if left out. */
  readonly carrier?: EventCarrier;
  /** Where the ends of sessions are sent beside `SessionService.WatchSessions`; nowhere if left out. */
  readonly sessionPublisher?: Publisher;
  /** How old the latest signed head of an app may be while tokens are issued for it, in seconds; 10 if left out. */
  readonly maxHeadAgeSeconds?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Whether strangers may make accounts. */
  readonly signUp: "open" | "closed";
  /** {@link DEFAULT_PASSWORD_COST} if left out. Hashes at another cost are replaced as their users sign in. */
  readonly passwordHash?: PasswordCost;
  /** How long access tokens live, in seconds, at most 900. 900 if left out. */
  readonly tokenLifeSeconds?: number;
  /** {@link DEFAULT_THROTTLE} if left out. */
  readonly throttle?: Readonly<Record<AttemptScope, ThrottleLimit>>;
  /** See `authFailpoints`. */
  readonly failpoint?: Failpoint;
};

/**
 * Failed sign-ins of an account: 10 at once, then one a minute. Failed sign-ins and all sign-ups of a source, behind which
 * many people may be: 100 at once, then one every 6 seconds.
 */
export const DEFAULT_THROTTLE: Readonly<Record<AttemptScope, ThrottleLimit>> = {
  account: { burst: 10, intervalSeconds: 60 },
  source: { burst: 100, intervalSeconds: 6 },
};

/** An Auth Provider, to be mounted on a server. */
export type AuthProvider = {
  /** Serves AuthProviderService, UserService, ServiceTokenService, SessionService and TenancyService. */
  routes(router: ConnectRouter): void;
  /** Key sets, discovery documents, and the provider's directory entry. */
  readonly httpRoutes: readonly HttpRoute[];
  /** Its streams, for the server that it is mounted on. */
  readonly readyStreams: ReadyStreams;
  /** Listens to the events of its tenants' apps; finishes what a crash left unfinished. What still can't be is logged, and tried each minute. */
  start(): Promise<void>;
  /** The index up to which all ends of sessions are published; undefined without a publisher, and before the start. */
  publishedIndex(): number | undefined;
  /** Commits what waits and closes the file. */
  stop(): Promise<void>;
};

const MAINTENANCE_MS = 60_000;

/**
 * Opens an Auth Provider's file.
 *
 * @throws RangeError if the base URL is not at or below the domain
 * @throws UnusableFileError if the file can't be opened, is no database, or is from a newer version
 */
export function createAuthProvider(options: AuthProviderOptions): AuthProvider {
  const { domain, providerKey, registries, clock, random, logger, failpoint = noFailpoints } = options;
  const issuer = createIssuer(options.baseUrl, domain);
  const db = openDatabase(options.databaseFile, authMigrations);
  // What is deleted is overwritten, not only unlinked: wiped data must not stay in the file.
  db.pragma("secure_delete = ON");
  const writes = new WriteQueue(db, { failpoint });
  const pairs = new KeyPairs(db, random);
  const users = new Users(db, random);
  const sessions = new Sessions(db, random);
  const sessionEvents = new SessionEvents(db);
  const standings = new Standings(db);
  const views = new AppViews(options.views, standings);
  const tenancy = createTenancy({
    provider: { domain, key: providerKey },
    db,
    writes,
    registries,
    clock,
    random,
    logger,
    failpoint,
    async onTerminate({ appId }, dataHandling) {
      await writes.run("termination.data", () => {
        // Either way nothing is served any more: without keys no token is issued, without sessions none is refreshed.
        pairs.removeAll(appId);
        sessions.endAll(appId);
        sessionEvents.removeAll(appId);
        if (dataHandling === DataHandling.WIPE) users.removeAll(appId);
      });
      // Nor must it stay in the write-ahead log.
      db.pragma("wal_checkpoint(TRUNCATE)");
    },
  });
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
    apply: (event) => standings.apply(event),
    applied: ({ appId }) => options.views.forget(appId),
  });
  options.views.follow(subscriber);
  const core: AuthCore = {
    clock,
    random,
    writes,
    tenancy,
    orders: new AuthOrders(tenancy, pairs),
    issuer,
    pairs,
    users,
    sessions,
    sessionEvents,
    sessionHub: new WatchHub((milliseconds, callback) => clock.setTimer(milliseconds, callback)),
    passwords: new Passwords(options.passwordHash ?? DEFAULT_PASSWORD_COST, random),
    attempts: new Attempts(new Throttle(db, options.throttle ?? DEFAULT_THROTTLE, clock, random), writes),
    tokens: new TokenIssuer({ issuer, pairs, views, clock, random, tokenLifeSeconds: options.tokenLifeSeconds }),
    views,
    callers: new ServiceCallers({ views: options.views, clock }),
    listen: (appId) => subscriber.add(appId),
    signUp: options.signUp,
  };
  const ownKey = create(DirectoryKeySchema, { publicKey: providerKey.publicKey, algorithm: KeyAlgorithm.ED25519 });
  const entry = create(DirectoryEntrySchema, {
    domain,
    party: Party.AUTH_PROVIDER,
    baseUrl: options.baseUrl,
    keys: [...(options.publishedKeys ?? [ownKey])],
  });
  const openSessions = watchSessions(core);
  let outbox: Outbox | undefined;
  let maintenance: Repeated | undefined;
  let stopping = false;

  /** Never rejects: what a database that can't be read keeps from being done is left to the next time. */
  async function maintain(): Promise<void> {
    try {
      await tenancy.resume();
    } catch (error) {
      logger.error({ err: error }, "what was left unfinished could not be looked for");
    }
  }

  return {
    routes(router) {
      registerRoutes(core, router, openSessions);
      subscriberRoutes(router, subscriber);
    },
    httpRoutes: [...documentRoutes(core), wellKnownRoute(() => entry)],
    readyStreams: new Map([[SessionService.method.watchSessions, openSessions]]),
    async start() {
      await core.passwords.prepare();
      for (const { appId } of tenancy.tenants.inState("ACTIVE")) subscriber.add(appId);
      await subscriber.start();
      outbox ??=
        options.sessionPublisher &&
        startOutbox({
          db,
          writes,
          source: sessionOutboxSource(core),
          publisher: options.sessionPublisher,
          changes: core.sessionHub.subscribe(undefined),
          clock,
          logger,
        });
      await maintain();
      if (!stopping) maintenance ??= repeat(maintain, { everyMs: MAINTENANCE_MS, clock, random });
    },
    publishedIndex: () => outbox?.publishedIndex,
    async stop() {
      stopping = true;
      await maintenance?.stop();
      await subscriber.stop();
      const unpublished = outbox?.stop();
      writes.close();
      db.close();
      await unpublished;
    },
  };
}

function registerRoutes(core: AuthCore, router: ConnectRouter, openSessions: OpenStream): void {
  const { orders, tenancy } = core;
  const options = { interceptors: [boundedRequests()] };
  router.service(AuthProviderService, { provisionAuth: provisionAuth(core) }, options);
  router.service(
    UserService,
    { signUp: signUp(core), signIn: signIn(core), refreshToken: refreshToken(core), signOut: signOut(core) },
    options,
  );
  router.service(
    SessionService,
    { watchSessions: serveReadyStream(SessionService.method.watchSessions, openSessions) },
    options,
  );
  router.service(ServiceTokenService, { issueServiceToken: issueServiceToken(core) }, options);
  router.service(
    TenancyService,
    {
      rotateServiceKey: rotateServiceKey(orders, tenancy.rotation, tenancy),
      terminateService: terminateService(orders, tenancy.termination),
    },
    options,
  );
}
