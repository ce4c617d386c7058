import type { ConnectRouter } from "@connectrpc/connect";
import { createClient } from "@connectrpc/connect";
import pino from "pino";
import { onTestFinished } from "vitest";
import { ProvisionServiceSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type Agent, type AgentOptions, createAgent } from "../../src/agent/agent.ts";
import { Reason } from "../../src/core/refusal.ts";
import type { Connections } from "../../src/directory/connections.ts";
import { createViews } from "../../src/directory/views.ts";
import type { RegistryOptions } from "../../src/registry/service.ts";
import { createServer } from "../../src/rpc/server.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { announce, type RunningProvider, startProvider } from "../auth/support.ts";
import { connectionsTo, entryJson } from "../directory/support.ts";
import { headerAt, registerTestApp, type TestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";
import { providers, type RunningRegistry, startRegistry } from "../support/registry.ts";

const logger = pino({ level: process.env.LOG_LEVEL ?? "silent" });

/** A provider of services on a real server, which finds the other parties of its mesh. */
export type CallingAgent = {
  readonly agent: Agent;
  readonly domain: string;
  readonly databaseFile: string;
  stop(): Promise<void>;
};

/** A mesh of real parts that call each other. */
export type CallingMesh = {
  readonly registry: RunningRegistry;
  readonly auth: RunningProvider;
  readonly app: TestApp;
  /** Connections that lead to all parties that were started so far. */
  connections(): Connections;
  /** Makes a domain lead to a server, at `host:port`. */
  locate(party: { domain: string; key: SigningKey; party: Party; at: string }): void;
  startAgent(
    provider: { domain: string; key: SigningKey },
    options?: Partial<AgentOptions> & { routes?: (router: ConnectRouter, agent: Agent) => void },
  ): Promise<CallingAgent>;
  /** Has a service provisioned by an agent. */
  provision(agent: CallingAgent, serviceId: string): Promise<void>;
};

/** Starts a registry, an Auth Provider, and an app that it is announced for. */
export async function startCallingMesh(
  options: { auth?: Parameters<typeof startProvider>[1]; registry?: Partial<RegistryOptions> } = {},
): Promise<CallingMesh> {
  const registry = await startRegistry(options.registry);
  const { clock } = registry;
  const auth = await startProvider(registry, options.auth);
  const app = await registerTestApp(registry);
  await announce(auth, app);
  const directory = new Map<string, unknown>();
  const hosts: Record<string, string> = {};
  let generation = 0;

  function locate({ domain, key, party, at }: Parameters<CallingMesh["locate"]>[0]): void {
    const keys = [{ publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519 }];
    directory.set(domain, entryJson({ domain, party, baseUrl: `http://${domain}`, keys }));
    hosts[domain] = at;
    hosts[`*.${domain}`] = at;
    generation++;
  }

  function connections(): Connections {
    return connectionsTo(registry, { directory: [...directory.values()], hosts });
  }

  locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: new URL(auth.url).host });
  return {
    registry,
    auth,
    app,
    connections,
    locate,
    async startAgent(provider, { routes, ...options } = {}) {
      const { domain } = provider;
      const databaseFile = options.databaseFile ?? `${temporaryFolder()}/agent.db`;
      // Agents find parties that start after them, too.
      let known: { generation: number; ways: Connections } | undefined;
      const ways = () => {
        if (known?.generation !== generation) known = { generation, ways: connections() };
        return known.ways;
      };
      const { registries } = connectionsTo(registry);
      const agent = createAgent({
        provider: { ...provider, baseUrl: `http://${domain}` },
        databaseFile,
        registries,
        views: createViews({ registries, clock }),
        connections: {
          transportFor: (...args) => ways().transportFor(...args),
          transportTo: (...args) => ways().transportTo(...args),
        },
        clock,
        random: testBytes,
        logger,
        serviceTypes: ["cms-article"],
        endpointUrl: ({ serviceId }) => `http://${serviceId}.${domain}`,
        hooks: { onProvision() {}, onContext() {}, onTerminate() {} },
        ...options,
      });
      const server = createServer({
        host: "127.0.0.1",
        port: 0,
        development: true,
        logger,
        routes(router) {
          agent.routes(router);
          routes?.(router, agent);
        },
      });
      await server.listen();
      locate({ ...provider, party: Party.SERVICE_PROVIDER, at: `127.0.0.1:${server.address.port}` });
      let stopped: Promise<void> | undefined;
      const stop = () => {
        stopped ??= server.close(100).then(() => agent.stop());
        return stopped;
      };
      onTestFinished(stop);
      return { agent, domain, databaseFile, stop };
    },
    async provision({ domain }, serviceId) {
      const key = Object.values(providers).find((provider) => provider.domain === domain)?.key;
      // Before the header's time, which may be another second by a clock that runs.
      const expiresAt = BigInt(clock.seconds() + 3600);
      const statement = signStatement(
        ProvisionServiceSchema,
        {
          header: headerAt(clock, domain),
          appId: app.appId,
          targetProvider: domain,
          providerKeyId: key?.keyId ?? "",
          serviceType: "cms-article",
          serviceId,
          expiresAt,
        },
        app.master,
      );
      const transport = await connections().transportFor(domain, Reason.INTERNAL);
      await createClient(AgentService, transport).provisionService({ statement });
    },
  };
}
