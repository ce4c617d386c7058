import { create } from "@bufbuild/protobuf";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import pino, { type Logger } from "pino";
import { onTestFinished } from "vitest";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { EventService } from "../../gen/omi/event/v1/event_service_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { LogService } from "../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../gen/omi/registry/v1/registry_service_pb.ts";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import type { Directory } from "../../src/directory/directory.ts";
import { createRegistry, type Registry, type RegistryOptions } from "../../src/registry/service.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createServer, type Server } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { FakeClock } from "./clock.ts";
import "./equal-bytes.ts";
import { testBytes, testKey } from "./keys.ts";

/** The registry of the tests. */
export const registryDomain = "omi-registry.test";

/** The providers that the tests' directory knows, with their keys. */
export const providers = {
  article: { domain: "article.cms.test", key: testKey("provider article.cms.test") },
  crm: { domain: "crm.test", key: testKey("provider crm.test") },
  auth: { domain: "auth.test", key: testKey("provider auth.test") },
} as const;

/** A directory that knows {@link providers} and nobody else; all their URLs are plain http. */
export function testDirectory(more: Record<string, SigningKey> = {}): Directory {
  const keys = new Map<string, SigningKey>(Object.values(providers).map(({ domain, key }) => [domain, key]));
  for (const [domain, key] of Object.entries(more)) keys.set(domain, key);
  return {
    async lookup(domain) {
      const key = keys.get(domain);
      if (key === undefined) throw new Refusal(Reason.PROVIDER_UNKNOWN, "no such domain", { metadata: { domain } });
      return create(DirectoryEntrySchema, {
        domain,
        party: domain === providers.auth.domain ? Party.AUTH_PROVIDER : Party.SERVICE_PROVIDER,
        baseUrl: `http://${domain}`,
        keys: [{ publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
      });
    },
  };
}

/** The clients of a registry's services over one transport. */
export interface RegistryClients {
  registry: Client<typeof RegistryService>;
  resolver: Client<typeof ResolverService>;
  events: Client<typeof EventService>;
  log: Client<typeof LogService>;
}

/** Clients whose failed calls reject with a Refusal. */
export function registryClients(transport: Transport): RegistryClients {
  const translated = refusals(transport, Reason.REGISTRY_UNAVAILABLE);
  return {
    registry: createClient(RegistryService, translated),
    resolver: createClient(ResolverService, translated),
    events: createClient(EventService, translated),
    log: createClient(LogService, translated),
  };
}

/** A real registry on a real server. */
export interface RunningRegistry extends RegistryClients {
  registryPart: Registry;
  key: SigningKey;
  clock: FakeClock;
  /** Where it listens, e.g. `http://127.0.0.1:43210`. */
  url: string;
  stop(): Promise<void>;
}

/** Serves a registry, or a reader of one, on a port of its own. */
export async function serveRegistry(
  { routes, answers, readyStreams }: Pick<Registry, "routes" | "answers"> & Partial<Pick<Registry, "readyStreams">>,
  logger: Logger,
): Promise<Server> {
  const server = createServer({ host: "127.0.0.1", port: 0, development: true, logger, routes, answers, readyStreams });
  await server.listen();
  return server;
}

/** Starts a registry, in memory unless `databaseFile` says where; it stops with the test, or before. */
export async function startRegistry(options: Partial<RegistryOptions> = {}): Promise<RunningRegistry> {
  const running = await runRegistry(options);
  onTestFinished(running.stop);
  return running;
}

/** The same for the caller to stop. */
export async function runRegistry(options: Partial<RegistryOptions> = {}): Promise<RunningRegistry> {
  const clock = (options.clock as FakeClock | undefined) ?? new FakeClock();
  const key = testKey("registry");
  const logger = pino({ level: process.env.LOG_LEVEL ?? "silent" });
  const registryPart = await createRegistry({
    domain: registryDomain,
    databaseFile: ":memory:",
    keys: [{ key, notBefore: 0, notAfter: 0 }],
    directory: testDirectory(),
    codeSender: { send: async () => {} },
    clock,
    random: testBytes,
    logger,
    allowPlainHttp: (host) => host.endsWith(".test"),
    ...options,
  });
  const server = await serveRegistry(registryPart, logger);
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await server.close(100);
    registryPart.close();
  };
  const { url } = server.address;
  const transport = createConnectTransport({ baseUrl: url, httpVersion: "2" });
  return { registryPart, key, clock, url, stop, ...registryClients(transport) };
}
