import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import BetterSqlite3 from "better-sqlite3";
import { expect, onTestFinished } from "vitest";
import {
  type ProvisionService,
  ProvisionServiceSchema,
  type ServiceProvisioned,
  ServiceProvisionedSchema,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService, TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { KeyStatus, type OperationalContext } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceListAnswerSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { type Agent, type AgentOptions, createAgent } from "../../src/agent/agent.ts";
import type { AgentHooks } from "../../src/agent/hooks.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createViews } from "../../src/directory/views.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { createServer } from "../../src/rpc/server.ts";
import { openAnswer, statementId, verifySignature } from "../../src/statement/statement.ts";
import { ServiceKeys } from "../../src/tenancy/service-keys.ts";
import { type Tenant, type TenantId, Tenants } from "../../src/tenancy/tenants.ts";
import { present, type TestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";
import { providers, type RunningRegistry, startRegistry } from "../support/registry.ts";
import { hex, logger, type OrderChanges, signOrder, wayTo } from "../tenancy/support.ts";

/** How an agent is started, where it differs from what most tests need. */
export type TestAgentOptions = Partial<Omit<AgentOptions, "hooks">> & {
  readonly hooks?: Partial<AgentHooks>;
  /** Where it looks for the registry. */
  readonly registryUrl?: string;
};

/** An agent on a real server. */
export type RunningAgent = {
  readonly agent: Agent;
  readonly client: Client<typeof AgentService>;
  readonly tenancy: Client<typeof TenancyService>;
  readonly transport: Transport;
  readonly databaseFile: string;
  /** What the service was told, in order, e.g. `provision cms-article-77`. */
  readonly told: readonly string[];
  /** The contexts among it. */
  readonly contexts: readonly OperationalContext[];
  stop(): Promise<void>;
};

/** Starts the agent of `article.cms.test`, without `Agent.start`; it stops with the test, or before. */
export async function startAgent(registry: RunningRegistry, options: TestAgentOptions = {}): Promise<RunningAgent> {
  const { hooks = {}, registryUrl, ...others } = options;
  const databaseFile = options.databaseFile ?? `${temporaryFolder()}/agent.db`;
  const registries = wayTo(registry, registryUrl);
  const told: string[] = [];
  const contexts: OperationalContext[] = [];
  const agent = createAgent({
    provider: { ...providers.article, baseUrl: `http://${providers.article.domain}` },
    databaseFile,
    registries,
    views: createViews({ registries, clock: registry.clock }),
    clock: registry.clock,
    random: testBytes,
    logger,
    serviceTypes: ["cms-article"],
    endpointUrl: ({ serviceId }) => `http://${serviceId.replaceAll("_", "-")}.${providers.article.domain}`,
    ...others,
    hooks: {
      ...hooks,
      async onProvision(tenant, order) {
        await hooks.onProvision?.(tenant, order);
        told.push(`provision ${tenant.serviceId}`);
      },
      async onContext(tenant, context) {
        await hooks.onContext?.(tenant, context);
        told.push(`context ${tenant.serviceId} ${context.configEpoch}`);
        contexts.push(context);
      },
      async onTerminate(tenant, handling) {
        await hooks.onTerminate?.(tenant, handling);
        told.push(`terminate ${tenant.serviceId} ${handling}`);
      },
    },
  });
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    development: true,
    logger,
    routes: (router) => agent.routes(router),
    httpRoutes: agent.httpRoutes,
  });
  await server.listen();
  const { url: baseUrl } = server.address;
  const transport = refusals(createConnectTransport({ baseUrl, httpVersion: "2" }), Reason.INTERNAL);
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= server.close(100).then(() => agent.stop());
    return stopped;
  };
  onTestFinished(stop);
  return {
    agent,
    client: createClient(AgentService, transport),
    tenancy: createClient(TenancyService, transport),
    transport,
    databaseFile,
    told,
    contexts,
    stop,
  };
}

/** Starts a registry with its state in a file, and says how to start it anew with the same state. */
export async function startDurableRegistry(): Promise<{
  registry: RunningRegistry;
  restart: () => Promise<RunningRegistry>;
}> {
  const databaseFile = `${temporaryFolder()}/registry.db`;
  const registry = await startRegistry({ databaseFile });
  const restart = () => startRegistry({ databaseFile, clock: registry.clock });
  return { registry, restart };
}

/** An order of a `cms-article`, right unless something else is said. */
export function serviceOrder(
  registry: RunningRegistry,
  app: TestApp,
  fields: Partial<Omit<ProvisionService, "$typeName" | "$unknown" | "header">> = {},
  changes: OrderChanges = {},
): Statement {
  const message = {
    appId: app.appId,
    targetProvider: providers.article.domain,
    providerKeyId: providers.article.key.keyId,
    serviceType: "cms-article",
    expiresAt: BigInt(registry.clock.seconds() + 3600),
    ...fields,
  };
  return signOrder(registry, ProvisionServiceSchema, message, app.master, changes);
}

/** Sends an order of a service; verifies the answer and opens it. */
export async function provision({ client }: RunningAgent, statement: Statement): Promise<ServiceProvisioned> {
  const { answer } = await client.provisionService({ statement });
  const opened = openAnswer(ServiceProvisionedSchema, present(answer));
  await verifySignature(opened, providers.article.key.publicKey);
  expect(opened.header.inReplyTo).toEqual(statementId(statement));
  return opened.message;
}

/** All services of an app, as the registry has them. */
export async function servicesOf(registry: RunningRegistry, { appId }: TestApp): Promise<Service[]> {
  const { answer } = await registry.resolver.listServices({ appId });
  return openAnswer(ServiceListAnswerSchema, present(answer)).message.services;
}

/** What an agent's file holds of an app's tenants. */
export function tenantsIn({ databaseFile }: RunningAgent, { appId }: TestApp): Tenant[] {
  return withDatabase(databaseFile, (db) => new Tenants(db).ofApp(appId));
}

/** The Service key that an agent's file holds for current, in hex. */
export function currentKeyIn({ databaseFile }: RunningAgent, tenant: TenantId): string {
  return withDatabase(databaseFile, (db) => hex(new ServiceKeys(db, testBytes).current(tenant)?.publicKey));
}

/** Checks that agent and registry agree on one service of the app beside `auth`, that it is active, and on its key. */
export async function expectOneService(
  registry: RunningRegistry,
  running: RunningAgent,
  app: TestApp,
  { serviceId, publicKey, endpointUrl }: Pick<ServiceProvisioned, "serviceId" | "publicKey" | "endpointUrl">,
): Promise<void> {
  const services = (await servicesOf(registry, app)).filter((service) => service.serviceId !== "auth");
  expect(services).toMatchObject([{ serviceId, endpointUrl, provider: providers.article.domain }]);
  const active = services[0]?.keys.find(({ status }) => status === KeyStatus.ACTIVE);
  expect(hex(active?.publicKey)).toBe(hex(publicKey));
  expect(tenantsIn(running, app)).toMatchObject([{ serviceId, state: "ACTIVE" }]);
  expect(currentKeyIn(running, { appId: app.appId, serviceId })).toBe(hex(publicKey));
}

function withDatabase<T>(file: string, read: (db: BetterSqlite3.Database) => T): T {
  const db = new BetterSqlite3(file);
  try {
    return read(db);
  } finally {
    db.close();
  }
}
