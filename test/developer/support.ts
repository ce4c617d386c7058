import type { ConnectRouter } from "@connectrpc/connect";
import pino from "pino";
import { onTestFinished } from "vitest";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { createAuthProvider } from "../../src/auth/auth-provider.ts";
import type { Clock } from "../../src/core/clock.ts";
import { createDeveloper, type Developer } from "../../src/developer/developer.ts";
import type { Step } from "../../src/developer/step.ts";
import type { Connections } from "../../src/directory/connections.ts";
import { createViews } from "../../src/directory/views.ts";
import { createCmsArticle } from "../../src/programs/cms-article/cms-article.ts";
import { createServer } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { connectionsTo, entryJson } from "../directory/support.ts";
import type { FakeClock } from "../support/clock.ts";
import { testBytes, testKey } from "../support/keys.ts";
import { providers, type RunningRegistry, registryDomain, startRegistry } from "../support/registry.ts";

/** A part of the mesh that a server is started for. */
export type ServedPart = { routes(router: ConnectRouter): void };

/** Starts a server for a part. Returns where it listens, as `host:port`. */
export async function serve(part: ServedPart): Promise<string> {
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    development: true,
    logger: pino({ level: "silent" }),
    routes: (router) => part.routes(router),
  });
  await server.listen();
  onTestFinished(() => server.close(0));
  return `127.0.0.1:${server.address.port}`;
}

/** A developer in a mesh of real parts. */
export type DeveloperMesh = {
  readonly registry: RunningRegistry;
  readonly clock: FakeClock;
  readonly master: SigningKey;
  readonly developer: Developer;
  readonly connections: Connections;
  /** Where the parts listen, by host. */
  readonly hosts: Readonly<Record<string, string>>;
  /** What the flows told so far. */
  readonly steps: Step[];
};

/** The entries of the tests' providers. */
export const providerEntries = [
  providerEntry(providers.auth, Party.AUTH_PROVIDER),
  providerEntry(providers.article, Party.SERVICE_PROVIDER),
];

function providerEntry({ domain, key }: { domain: string; key: SigningKey }, party: Party) {
  const keys = [{ publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519 }];
  return entryJson({ domain, party, baseUrl: `http://${domain}`, keys });
}

// Waits between attempts are shorter, time limits of connections are not.
const SHORTEST_LIMIT_MS = 5000;

/** A clock that shows another one's time and on which no wait takes time; time limits are real. */
export function impatient(clock: Clock): Clock {
  return {
    now: () => clock.now(),
    setTimer(milliseconds, callback) {
      const timer = setTimeout(callback, milliseconds < SHORTEST_LIMIT_MS ? 0 : milliseconds);
      return () => clearTimeout(timer);
    },
  };
}

/**
 * Starts a mesh: a registry, an Auth Provider and a provider of articles, and a developer who knows them.
 *
 * @param parts parts to start in place of the real providers
 */
export async function startMesh(parts: { auth?: ServedPart; article?: ServedPart } = {}): Promise<DeveloperMesh> {
  const registry = await startRegistry();
  const { clock } = registry;
  const { registries } = connectionsTo(registry);
  const common = {
    registries,
    views: createViews({ registries, clock }),
    clock,
    random: testBytes,
    logger: pino({ level: "silent" }),
  };
  const hosts: Record<string, string> = { [registryDomain]: new URL(registry.url).host };
  hosts[providers.auth.domain] = await serve(parts.auth ?? (await startAuthProvider(common)));
  hosts[providers.article.domain] = await serve(parts.article ?? (await startArticles(common)));
  const connections = connectionsTo(registry, { directory: providerEntries, hosts });
  const master = testKey("master of a developer");
  const steps: Step[] = [];
  const developer = createDeveloper({
    masterKey: master,
    connections,
    clock: impatient(clock),
    random: testBytes,
    onStep: (step) => steps.push(step),
  });
  return { registry, clock, master, developer, connections, hosts, steps };
}

type Common = Pick<Parameters<typeof createAuthProvider>[0], "registries" | "views" | "clock" | "random" | "logger">;

async function startAuthProvider(common: Common): Promise<ServedPart> {
  const { domain, key } = providers.auth;
  const provider = createAuthProvider({
    ...common,
    domain,
    providerKey: key,
    baseUrl: `http://${domain}`,
    databaseFile: ":memory:",
    signUp: "open",
    passwordHash: { memoryKib: 8, passes: 1, parallelism: 1 },
  });
  await provider.start();
  onTestFinished(() => provider.stop());
  return provider;
}

async function startArticles(common: Common): Promise<ServedPart> {
  const { domain, key } = providers.article;
  const articles = createCmsArticle({
    ...common,
    provider: { domain, key, baseUrl: `http://${domain}` },
    agentDatabaseFile: ":memory:",
    articleDatabaseFile: ":memory:",
    endpointUrl: ({ serviceId }) => `http://${serviceId}.${domain}`,
  });
  await articles.start();
  onTestFinished(() => articles.stop());
  return articles;
}

/** Claims a namespace and registers the app `shop` in it. */
export async function startApp({ developer }: DeveloperMesh, namespace = "alice"): Promise<string> {
  await developer.claimNamespace({ registry: registryDomain, namespace });
  const app = await developer.registerApp({ registry: registryDomain, namespace, slug: "shop", displayName: "Shop" });
  return app.appId;
}
