import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import { EventService } from "../../gen/omi/event/v1/event_service_pb.ts";
import { LogService } from "../../gen/omi/registry/v1/log_pb.ts";
import { ActivationPolicy } from "../../gen/omi/registry/v1/registry_pb.ts";
import { RegistryService } from "../../gen/omi/registry/v1/registry_service_pb.ts";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { Random } from "../core/random.ts";
import type { Directory } from "../directory/directory.ts";
import { Alarm } from "../events/alarm.ts";
import { startOutbox } from "../events/outbox.ts";
import type { Publisher } from "../events/publisher.ts";
import { WatchHub } from "../events/watch-hub.ts";
import { requestContext } from "../rpc/call/context.ts";
import { sourceOf } from "../rpc/call/source.ts";
import { boundedRequests } from "../rpc/handlers/bounds.ts";
import { type ReadyAnswers, serveReadyAnswers } from "../rpc/ready/ready-answers.ts";
import { type OpenStream, type ReadyStreams, serveReadyStream } from "../rpc/ready/ready-streams.ts";
import { openDatabase } from "../store/database.ts";
import { Nonces } from "../store/nonces.ts";
import { Throttle } from "../store/throttle.ts";
import { WriteQueue } from "../store/write-queue.ts";
import type { CodeSender } from "./activation.ts";
import { type CodeLimits, defaultCodeLimits } from "./code-throttle.ts";
import { createReadCore, type ReadOptions, type RegistryCore } from "./core.ts";
import { registryMigrations } from "./migrations.ts";
import { Projection } from "./projection.ts";
import { publishedKeySet, publishKeys } from "./publish-keys.ts";
import { defaultAnswerCacheBytes, Reads } from "./reads.ts";
import { activateNamespace } from "./rpc/activate-namespace.ts";
import { announceAuth } from "./rpc/announce-auth.ts";
import { bindService } from "./rpc/bind-service.ts";
import { claimNamespace } from "./rpc/claim-namespace.ts";
import { getHeads } from "./rpc/get-heads.ts";
import { listEvents } from "./rpc/list-events.ts";
import { readLog } from "./rpc/read-log.ts";
import { registerApp } from "./rpc/register-app.ts";
import { resendActivationCode } from "./rpc/resend-activation-code.ts";
import { rotateKey } from "./rpc/rotate-key.ts";
import { suspendService } from "./rpc/suspend-service.ts";
import { unbindService } from "./rpc/unbind-service.ts";
import { updateBackbone } from "./rpc/update-backbone.ts";
import { watch } from "./rpc/watch.ts";
import { defaultPolicy } from "./rules/policy.ts";
import { WatchMessages } from "./watch-messages.ts";

/** What a registry is made of. */
export interface RegistryOptions extends ReadOptions {
  /** Its SQLite file; `:memory:` for none. */
  databaseFile: string;
  /** Where Provider keys come from. */
  directory: Directory;
  random: Random;
  logger: Logger;
  /** Needed if the activation policy is CODE. */
  codeSender?: CodeSender;
  /** How many codes may be sent and tried; {@link defaultCodeLimits} if absent. */
  codeLimits?: CodeLimits;
  /** Where events are sent beside Watch; nowhere if absent. */
  publisher?: Publisher;
  /** The most writes that one commit covers; see `WriteQueueOptions`. */
  writeBatchSize?: number;
  /** See `WriteQueue`; for tests. */
  failpoint?: (name: string) => void;
}

/** Silence proves nothing, so each stream of events has heads in it this often, in milliseconds. */
const headsIntervalMs = 5000;

/** A running registry, to be mounted on a server. */
export interface Registry {
  routes(router: ConnectRouter): void;
  /** The answers to its reads, for the server that it is mounted on. */
  answers: ReadyAnswers;
  /** Its streams, for the same. */
  readyStreams: ReadyStreams;
  /** Its key set, for the well-known document. */
  keySet(): Statement;
  /** The log index up to which all events are published; undefined without a publisher. */
  publishedIndex(): number | undefined;
  /** Commits what waits and closes the file, at once; resolves when the publisher's connection is closed too. */
  close(): Promise<void>;
}

/**
 * Opens a registry's file, brings the published key set in line with the configured keys, and is ready to serve.
 *
 * @throws if the file is from a newer version, clients could not follow to the configured keys, or activation codes have
 *   nowhere to go
 */
export async function createRegistry(options: RegistryOptions): Promise<Registry> {
  const { activationPolicy } = { ...defaultPolicy, ...options.policy };
  if (activationPolicy === ActivationPolicy.CODE && options.codeSender === undefined) {
    throw new Error("the activation policy CODE needs a code sender");
  }
  const db = openDatabase(options.databaseFile, registryMigrations);
  const readCore = createReadCore(db, options);
  const core: RegistryCore = {
    ...readCore,
    projection: new Projection(db),
    nonces: new Nonces(db, readCore.policy.freshnessWindowSeconds),
    queue: new WriteQueue(db, {
      ...(options.failpoint === undefined ? {} : { failpoint: options.failpoint }),
      ...(options.writeBatchSize === undefined ? {} : { batchSize: options.writeBatchSize }),
    }),
    onEffect(effect, now) {
      reads.changed(effect, now);
      watchMessages.changed(effect);
    },
    hub: new WatchHub((milliseconds, callback) => options.clock.setTimer(milliseconds, callback)),
    headsAlarm: new Alarm(options.clock, headsIntervalMs),
    directory: options.directory,
    random: options.random,
    logger: options.logger,
    codeSender: options.codeSender,
    codeThrottle: new Throttle(db, options.codeLimits ?? defaultCodeLimits, options.clock, options.random),
  };
  const reads = new Reads(core, options.answerCacheBytes ?? defaultAnswerCacheBytes);
  const watchMessages = new WatchMessages(core);
  const openWatch: OpenStream = (request, wake) => watch(core, watchMessages, request, wake);
  try {
    await publishKeys(core);
  } catch (error) {
    db.close();
    throw error;
  }
  const outbox =
    options.publisher &&
    startOutbox({
      db,
      writes: core.queue,
      source: core.log,
      publisher: options.publisher,
      changes: core.hub.subscribe(undefined),
      clock: options.clock,
      logger: options.logger,
    });
  return {
    routes: (router) => registerRoutes(core, router, reads, openWatch),
    answers: reads,
    readyStreams: new Map([[EventService.method.watch, openWatch]]),
    keySet: () => publishedKeySet(core.store),
    publishedIndex: () => outbox?.publishedIndex,
    close() {
      const stopped = outbox?.stop();
      core.queue.close();
      db.close();
      return stopped ?? Promise.resolve();
    },
  };
}

/** Where a call comes from, as it is counted. */
function callSource(context: HandlerContext): string {
  return sourceOf(requestContext(context).peer);
}

function registerRoutes(core: RegistryCore, router: ConnectRouter, reads: Reads, openWatch: OpenStream): void {
  const options = { interceptors: [boundedRequests({ allowPlainHttp: core.allowPlainHttp })] };
  router.service(
    RegistryService,
    {
      claimNamespace: (request, context) => claimNamespace(core, request, () => callSource(context)),
      activateNamespace: (request, context) => activateNamespace(core, request, () => callSource(context)),
      resendActivationCode: (request, context) => resendActivationCode(core, request, () => callSource(context)),
      registerApp: (request) => registerApp(core, request),
      updateBackbone: (request) => updateBackbone(core, request),
      announceAuth: (request) => announceAuth(core, request),
      bindService: (request) => bindService(core, request),
      rotateKey: (request) => rotateKey(core, request),
      suspendService: (request) => suspendService(core, request),
      unbindService: (request) => unbindService(core, request),
    },
    options,
  );
  serveReadyAnswers(router, ResolverService.methods, reads, options);
  router.service(
    EventService,
    {
      watch: serveReadyStream(EventService.method.watch, openWatch),
      listEvents: (request) => listEvents(core, request),
      getHeads: (request) => getHeads(core, request),
    },
    options,
  );
  router.service(LogService, { readLog: (request) => readLog(core, request) }, options);
}
