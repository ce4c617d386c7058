import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Logger } from "pino";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { createAuthProvider } from "../auth/auth-provider.ts";
import { createBilling } from "../billing/billing.ts";
import { fromBase64Url } from "../core/bytes.ts";
import { systemClock } from "../core/clock.ts";
import { besideConfig } from "../core/config.ts";
import { systemRandom } from "../core/random.ts";
import { loadSigningKey } from "../developer/signing-key.ts";
import type { Connections } from "../directory/connections.ts";
import { createViews } from "../directory/views.ts";
import { wellKnownRoute } from "../directory/well-known.ts";
import { createCmsArticle } from "../programs/cms-article/cms-article.ts";
import { fileCodeSender } from "../registry/activation.ts";
import { defaultCodeLimits, limitPerHour } from "../registry/code-throttle.ts";
import { createRegistryReader, type ReaderOptions } from "../registry/reader.ts";
import { createRegistry } from "../registry/service.ts";
import type { HttpRoute } from "../rpc/http/http-routes.ts";
import type { ReadyAnswers } from "../rpc/ready/ready-answers.ts";
import type { ReadyStreams } from "../rpc/ready/ready-streams.ts";
import { activationPolicyOf, type ProcessConfig } from "./config.ts";
import { defined } from "./defined.ts";
import { carrierOf, publisherOf, sessionCarriersOf, sessionPublisherOf } from "./events.ts";

/** A part of the mesh, ready to be mounted on a server. */
export interface Part {
  routes(router: ConnectRouter): void;
  readonly httpRoutes: readonly HttpRoute[];
  /** Its answers to cacheable RPCs, if it serves some. */
  readonly answers?: ReadyAnswers | undefined;
  /** Its streams of ready messages, if it serves some. */
  readonly readyStreams?: ReadyStreams | undefined;
  /** Finishes what a crash left unfinished. Call once the server listens, as other parts may call back. */
  start(): Promise<void>;
  /** Resolves with the reason if it can't go on and has to be started anew. */
  readonly outdated?: Promise<Error>;
  /** Call after the server has stopped. */
  stop(): Promise<void>;
}

interface PartDeps {
  connections: Connections;
  logger: Logger;
  /** The configuration file that paths are relative to. */
  file: string | undefined;
}

/** The name in logs of the part that a configuration is for. */
export function partName(config: ProcessConfig): string {
  if (config.registry !== undefined) return "registry";
  if (config.authProvider !== undefined) return "auth-provider";
  return config.billing !== undefined ? "billing" : "cms-article";
}

/** The database files of the part that a configuration is for, as they are written there. */
export function databaseFilesOf({ registry, authProvider, billing, cmsArticle }: ProcessConfig): string[] {
  const files = [
    registry?.databaseFile,
    authProvider?.databaseFile,
    billing?.databaseFile,
    cmsArticle?.agentDatabaseFile,
    cmsArticle?.articleDatabaseFile,
  ];
  return files.filter((file) => file !== undefined);
}

/** Opens the part that the configuration is for. */
export async function createPart(config: ProcessConfig, deps: PartDeps): Promise<Part> {
  if (config.registry !== undefined) return createRegistryPart(config, config.registry, deps);
  if (config.authProvider !== undefined) return createAuthPart(config, config.authProvider, deps);
  if (config.billing !== undefined) return createBillingPart(config, config.billing, deps);
  if (config.cmsArticle !== undefined) return createArticlePart(config, config.cmsArticle, deps);
  throw new Error("no part configured");
}

async function createRegistryPart(
  config: ProcessConfig,
  settings: RegistrySettings,
  { connections, logger, file }: PartDeps,
): Promise<Part> {
  const { domain, activation } = settings;
  const publisher = publisherOf(config.events, { domain, file, logger });
  const registry = await createRegistry({
    ...readerOptions(settings, { connections, file }),
    directory: connections.directory,
    random: systemRandom,
    logger,
    ...(activation.policy === "code"
      ? {
          codeSender: fileCodeSender(besideConfig(file, activation.codeFile)),
          codeLimits: { ...defaultCodeLimits, registry: limitPerHour(activation.maxCodesPerHour) },
        }
      : {}),
    ...(publisher === undefined ? {} : { publisher }),
  });
  return {
    routes: (router) => registry.routes(router),
    answers: registry.answers,
    readyStreams: registry.readyStreams,
    httpRoutes: [registryEntryRoute(config, domain, () => registry.keySet())],
    start: async () => {},
    stop: async () => registry.close(),
  };
}

/** The settings of a registry that has readers. */
export type ReaderSettings = RegistrySettings & { readerPort: number };

/**
 * Opens a reader of the registry that the configuration is for.
 *
 * @throws what the reader can't start with
 */
export function createReaderPart(config: ProcessConfig, settings: ReaderSettings, deps: PartDeps): Part {
  const reader = createRegistryReader(readerOptions(settings, deps));
  return {
    routes: (router) => reader.routes(router),
    answers: reader.answers,
    httpRoutes: [registryEntryRoute(config, settings.domain, () => reader.keySet())],
    start: async () => {},
    outdated: reader.outdated,
    stop: async () => reader.close(),
  };
}

type RegistrySettings = NonNullable<ProcessConfig["registry"]>;

/** What a registry and its readers have in common. */
function readerOptions(
  settings: RegistrySettings,
  { connections, file }: Pick<PartDeps, "connections" | "file">,
): ReaderOptions {
  return {
    domain: settings.domain,
    databaseFile: besideConfig(file, settings.databaseFile),
    keys: settings.keys.map(({ file: keyFile, publicKey = "", notBefore, notAfter }) => ({
      key:
        keyFile === undefined
          ? { publicKey: fromBase64Url(publicKey) ?? new Uint8Array() }
          : loadSigningKey(besideConfig(file, keyFile), KeyRole.REGISTRY),
      notBefore,
      notAfter,
    })),
    policy: { ...defined(settings.policy), activationPolicy: activationPolicyOf(settings.activation.policy) },
    clock: systemClock,
    allowPlainHttp: connections.allowPlainHttp,
  };
}

function registryEntryRoute({ server }: ProcessConfig, domain: string, keySet: () => Statement): HttpRoute {
  const baseUrl = `${server.tls === undefined ? "http" : "https"}://${domain}`;
  return wellKnownRoute(() =>
    create(DirectoryEntrySchema, { domain, party: Party.REGISTRY, baseUrl, registryKeys: keySet() }),
  );
}

/** What every provider works with. */
function providerDeps(config: ProcessConfig, domain: string, { connections: { registries }, logger, file }: PartDeps) {
  const carrier = carrierOf(config.events, { domain, file, logger });
  return {
    registries,
    views: createViews({ registries, clock: systemClock, maxAgeSeconds: config.viewMaxAgeSeconds }),
    maxHeadAgeSeconds: config.viewMaxAgeSeconds,
    ...(carrier === undefined ? {} : { carrier }),
    clock: systemClock,
    random: systemRandom,
    logger,
  };
}

/** Who a provider is. */
function providerIdentity(
  { domain, keyFile, baseUrl }: { readonly domain: string; readonly keyFile: string; readonly baseUrl: string },
  { file }: PartDeps,
) {
  return { domain, providerKey: loadSigningKey(besideConfig(file, keyFile), KeyRole.PROVIDER), baseUrl };
}

function createAuthPart(
  config: ProcessConfig,
  settings: NonNullable<ProcessConfig["authProvider"]>,
  deps: PartDeps,
): Part {
  const sessionPublisher = sessionPublisherOf(config.events, {
    domain: settings.domain,
    file: deps.file,
    logger: deps.logger,
  });
  return createAuthProvider({
    ...providerDeps(config, settings.domain, deps),
    ...providerIdentity(settings, deps),
    databaseFile: besideConfig(deps.file, settings.databaseFile),
    ...(sessionPublisher === undefined ? {} : { sessionPublisher }),
    signUp: settings.signUp,
    tokenLifeSeconds: settings.tokenLifeSeconds,
  });
}

function createBillingPart(
  config: ProcessConfig,
  settings: NonNullable<ProcessConfig["billing"]>,
  deps: PartDeps,
): Part {
  return createBilling({
    ...providerDeps(config, settings.domain, deps),
    ...providerIdentity(settings, deps),
    databaseFile: besideConfig(deps.file, settings.databaseFile),
  });
}

function createArticlePart(
  config: ProcessConfig,
  settings: NonNullable<ProcessConfig["cmsArticle"]>,
  deps: PartDeps,
): Part {
  const { connections, logger, file } = deps;
  // That it is at or below the domain was checked with the configuration.
  const { protocol, host } = new URL(settings.baseUrl);
  const carrierFor = sessionCarriersOf(config.events, { domain: settings.domain, file, logger });
  const { domain, providerKey: key, baseUrl } = providerIdentity(settings, deps);
  return createCmsArticle({
    ...providerDeps(config, domain, deps),
    provider: { domain, key, baseUrl },
    agentDatabaseFile: besideConfig(file, settings.agentDatabaseFile),
    articleDatabaseFile: besideConfig(file, settings.articleDatabaseFile),
    connections,
    ...(carrierFor === undefined ? {} : { sessions: { carrierFor } }),
    // `_` stands in service IDs but not in host names.
    endpointUrl: ({ serviceId }) => `${protocol}//${serviceId.replaceAll("_", "-")}.${host}`,
    ...(settings.rotation === undefined ? {} : { rotation: settings.rotation }),
  });
}
