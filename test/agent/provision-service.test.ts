import { expect, test } from "vitest";
import { DataHandling, type ProvisionService, TerminateSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { providerRefused } from "../../src/agent/hooks.ts";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import { signData } from "../../src/statement/statement.ts";
import {
  announcementOf,
  bindTestService,
  registerTestApp,
  suspendOf,
  type TestApp,
  unbindOf,
} from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey, testNonce } from "../support/keys.ts";
import { providers, type RunningRegistry, startRegistry, testDirectory } from "../support/registry.ts";
import { NOWHERE, type OrderChanges, outcomeOf, terminateOf } from "../tenancy/support.ts";
import {
  currentKeyIn,
  expectOneService,
  provision,
  type RunningAgent,
  serviceOrder,
  servicesOf,
  startAgent,
  startDurableRegistry,
  type TestAgentOptions,
  tenantsIn,
} from "./support.ts";

type Mesh = { registry: RunningRegistry; running: RunningAgent; app: TestApp };

async function startMesh(options: TestAgentOptions = {}): Promise<Mesh> {
  const registry = await startRegistry();
  const running = await startAgent(registry, options);
  return { registry, running, app: await registerTestApp(registry) };
}

function orderOf(
  { registry, app }: Pick<Mesh, "registry" | "app">,
  fields: Parameters<typeof serviceOrder>[2] = {},
  changes: OrderChanges = {},
): Statement {
  return serviceOrder(registry, app, fields, changes);
}

function secondsFromNow({ registry }: Pick<Mesh, "registry">, seconds: number): bigint {
  return BigInt(registry.clock.seconds() + seconds);
}

test("a service is made, bound and told its context, and then the developer is answered", async () => {
  const mesh = await startMesh();
  const { registry, running, app } = mesh;
  await registry.registry.announceAuth({ statement: announcementOf(registry.clock, app) });
  const provisioned = await provision(running, orderOf(mesh));
  const { serviceId } = provisioned;
  expect(provisioned).toMatchObject({ appId: app.appId, serviceType: "cms-article" });
  expect(serviceId).toMatch(/^cms-article-[0-9a-f]{8}$/);
  expect(provisioned.endpointUrl).toBe(`http://${serviceId}.article.cms.test`);
  await expectOneService(registry, running, app, provisioned);
  expect(running.told).toEqual([`provision ${serviceId}`, `context ${serviceId} 1`]);
  expect(running.contexts[0]?.authKeys.map(({ keyId }) => keyId)).toEqual([testKey(`auth ${app.appId}`).keyId]);
  expect(running.agent.context({ appId: app.appId, serviceId })).toEqual(running.contexts[0]);
});

test("the developer names the service", async () => {
  const mesh = await startMesh();
  const provisioned = await provision(mesh.running, orderOf(mesh, { serviceId: "my_articles" }));
  expect(provisioned.serviceId).toBe("my_articles");
  await expectOneService(mesh.registry, mesh.running, mesh.app, provisioned);
});

test("a picked ID is a service ID, however long the type", async () => {
  const longType = `${"a".repeat(53)}-${"b".repeat(9)}`;
  const mesh = await startMesh({ serviceTypes: [longType] });
  const provisioned = await provision(mesh.running, orderOf(mesh, { serviceType: longType }));
  expect(provisioned.serviceId).toMatch(/^a{53}-[0-9a-f]{8}$/);
});

type Case = {
  name: string;
  order: (mesh: Mesh) => Statement | undefined | Promise<Statement>;
  outcome: string;
  options?: TestAgentOptions;
};

const cases: Case[] = [
  { name: "no statement", order: () => undefined, outcome: "FIELD_INVALID statement" },
  {
    name: "too old",
    order: (mesh) => orderOf(mesh, {}, { header: { timestamp: secondsFromNow(mesh, -301) } }),
    outcome: "TIMESTAMP_TOO_OLD header.timestamp",
  },
  {
    name: "from the future",
    order: (mesh) => orderOf(mesh, {}, { header: { timestamp: secondsFromNow(mesh, 301) } }),
    outcome: "TIMESTAMP_IN_FUTURE header.timestamp",
  },
  {
    name: "for another provider",
    order: (mesh) => orderOf(mesh, {}, { header: { audience: providers.crm.domain } }),
    outcome: "AUDIENCE_MISMATCH header.audience",
  },
  {
    name: "by a key that nobody knows",
    order: (mesh) => orderOf(mesh, {}, { signer: testKey("stranger") }),
    outcome: "SIGNER_UNKNOWN header.signer",
  },
  {
    name: "by the Provider key",
    order: (mesh) => orderOf(mesh, {}, { signer: providers.article.key }),
    outcome: "SIGNER_NOT_AUTHORIZED header.signer",
  },
  {
    name: "by the app's Auth key",
    async order(mesh) {
      const { registry, app } = mesh;
      const authKey = testKey(`the auth key of ${app.appId}`);
      await registry.registry.announceAuth({ statement: announcementOf(registry.clock, app, { authKey }) });
      return orderOf(mesh, {}, { signer: authKey });
    },
    outcome: "SIGNER_NOT_AUTHORIZED header.signer",
  },
  {
    name: "with the signature of another order",
    order: (mesh) => ({ ...orderOf(mesh), signature: orderOf(mesh).signature }),
    outcome: "SIGNATURE_INVALID statement",
  },
  {
    name: "with a signature of the same bytes as another message",
    order(mesh) {
      const right = orderOf(mesh);
      return { ...right, signature: signData(TerminateSchema.typeName, right.data, mesh.app.master).signature };
    },
    outcome: "SIGNATURE_INVALID statement",
  },
  {
    name: "another message",
    order: ({ registry, app }) => terminateOf(registry, { app, serviceId: "cms-article-77", key: testKey("any") }),
    outcome: "TYPE_MISMATCH statement",
  },
  {
    name: "about another developer's app",
    async order(mesh) {
      const { appId } = await registerTestApp(mesh.registry);
      return orderOf(mesh, { appId });
    },
    outcome: "SIGNER_UNKNOWN header.signer",
  },
  {
    name: "about an app that the registry does not know",
    order: (mesh) => orderOf(mesh, { appId: "test.omi-registry.nobody.shop.abcdef" }),
    outcome: "APP_UNKNOWN",
  },
  {
    name: "about an app of another registry than the one that answers",
    order: (mesh) => orderOf(mesh, { appId: "test.other-registry.nobody.shop.abcdef" }),
    outcome: "REGISTRY_MISMATCH",
  },
  {
    name: "about an app of a registry that can't be found",
    order: (mesh) => orderOf(mesh, { appId: "test.elsewhere.nobody.shop.abcdef" }),
    outcome: "REGISTRY_UNAVAILABLE",
  },
  {
    name: "another target",
    order: (mesh) => orderOf(mesh, { targetProvider: providers.crm.domain }),
    outcome: "TARGET_MISMATCH target_provider",
  },
  {
    name: "another Provider key",
    order: (mesh) => orderOf(mesh, { providerKeyId: providers.crm.key.keyId }),
    outcome: "TARGET_MISMATCH provider_key_id",
  },
  {
    name: "good for no time",
    order: (mesh) => orderOf(mesh, { expiresAt: secondsFromNow(mesh, 0) }),
    outcome: "FIELD_INVALID expires_at",
  },
  {
    name: "good for more than an hour",
    order: (mesh) => orderOf(mesh, { expiresAt: secondsFromNow(mesh, 3601) }),
    outcome: "FIELD_INVALID expires_at",
  },
  {
    name: "expired",
    order: (mesh) =>
      orderOf(mesh, { expiresAt: secondsFromNow(mesh, 0) }, { header: { timestamp: secondsFromNow(mesh, -10) } }),
    outcome: "PROOF_EXPIRED",
  },
  {
    name: "the Auth Provider's record",
    order: (mesh) => orderOf(mesh, { serviceId: "auth" }),
    outcome: "SERVICE_ID_RESERVED",
  },
  {
    name: "a type that is not on offer",
    order: (mesh) => orderOf(mesh, { serviceType: "crm" }),
    outcome: "PROVIDER_REFUSED service_type",
  },
  {
    name: "settings out of order",
    order: (mesh) => orderOf(mesh, { parameters: [parameter("theme"), parameter("locale")] }),
    outcome: "FIELD_INVALID parameters[1].name",
  },
  {
    name: "a region that the vendor does not accept",
    order: (mesh) => orderOf(mesh, { region: "the-moon" }),
    outcome: "PROVIDER_REFUSED region",
    options: {
      hooks: {
        async accepts({ region }) {
          if (region !== "") throw providerRefused("region", "no such region");
        },
      },
    },
  },
  {
    name: "a service that others have bound",
    async order(mesh) {
      await bindTestService(mesh.registry, mesh.app, "cms-article-77");
      return orderOf(mesh, { serviceId: "cms-article-77" });
    },
    outcome: "REGISTRY_REFUSED SERVICE_ID_TAKEN",
  },
  {
    name: "a service that is in use",
    async order(mesh) {
      await provision(mesh.running, orderOf(mesh, { serviceId: "cms-article-77" }));
      return orderOf(mesh, { serviceId: "cms-article-77" });
    },
    outcome: "SERVICE_ID_TAKEN",
  },
  {
    name: "a service that was unbound",
    async order(mesh) {
      const { registry, app } = mesh;
      await provision(mesh.running, orderOf(mesh, { serviceId: "cms-article-77" }));
      const service = { app, serviceId: "cms-article-77", key: testKey("any") };
      await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
      return orderOf(mesh, { serviceId: "cms-article-77" });
    },
    outcome: "REGISTRY_REFUSED SERVICE_REVOKED",
  },
  {
    name: "a service that was terminated",
    async order(mesh) {
      await provision(mesh.running, orderOf(mesh, { serviceId: "cms-article-77" }));
      const service = { app: mesh.app, serviceId: "cms-article-77", key: testKey("any") };
      await mesh.running.tenancy.terminateService({ statement: terminateOf(mesh.registry, service) });
      return orderOf(mesh, { serviceId: "cms-article-77" });
    },
    outcome: "TENANT_TERMINATED",
  },
];

function parameter(name: string): ProvisionService["parameters"][number] {
  return { $typeName: "omi.statement.v1.Parameter", name, value: "x" };
}

test.each(cases)("refused: $name", async ({ order, outcome, options }) => {
  const mesh = await startMesh(options);
  const { registry, running, app } = mesh;
  const statement = await order(mesh);
  const tenants = tenantsIn(running, app);
  const services = await servicesOf(registry, app);
  const send = () => outcomeOf(running.client.provisionService(statement === undefined ? {} : { statement }));
  expect(await send()).toBe(outcome);
  expect(await send()).toBe(outcome);
  expect(tenantsIn(running, app)).toEqual(tenants);
  expect(await servicesOf(registry, app)).toEqual(services);
});

test("another order with the same nonce is refused", async () => {
  const mesh = await startMesh();
  const nonce = testNonce();
  await provision(mesh.running, orderOf(mesh, {}, { header: { nonce } }));
  const other = orderOf(mesh, { serviceId: "another-one" }, { header: { nonce } });
  expect(await outcomeOf(provision(mesh.running, other))).toBe("NONCE_REUSED header.nonce");
});

test("a registry that can't be reached, or whose answers don't verify, makes no tenant", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const offline = await startAgent(registry, { registryUrl: NOWHERE });
  expect(await outcomeOf(provision(offline, orderOf({ registry, app })))).toBe("REGISTRY_UNAVAILABLE");
  const impostor = await startRegistry({ keys: [{ key: testKey("impostor"), notBefore: 0, notAfter: 0 }] });
  const misled = await startAgent(registry, { registryUrl: impostor.url });
  const outcome = await outcomeOf(provision(misled, orderOf({ registry, app: await registerTestApp(impostor) })));
  expect(outcome).toMatch(/^ANSWER_INVALID/);
  expect(tenantsIn(offline, app)).toEqual([]);
});

test("the same bytes again have the same outcome, hours later and by another process too", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const first = await startAgent(registry, { databaseFile });
  const order = orderOf({ registry, app });
  const provisioned = await provision(first, order);
  expect(await outcomeOf(provision(first, order))).toBe("ok");
  registry.clock.advance(10_000);
  await first.stop();
  const second = await startAgent(registry, { databaseFile });
  const { serviceId, publicKey, endpointUrl } = await provision(second, order);
  expect({ serviceId, publicKey, endpointUrl }).toEqual({
    serviceId: provisioned.serviceId,
    publicKey: provisioned.publicKey,
    endpointUrl: provisioned.endpointUrl,
  });
  expect(second.told).toEqual([]);
  await expectOneService(registry, second, app, provisioned);
});

test("the same bytes many times at once make one service", async () => {
  const mesh = await startMesh();
  const order = orderOf(mesh);
  const answers = await Promise.all(Array.from({ length: 8 }, () => provision(mesh.running, order)));
  expect(new Set(answers.map(({ serviceId }) => serviceId)).size).toBe(1);
  expect(mesh.running.told).toHaveLength(2);
});

test("many orders of one app at once make as many services", async () => {
  const mesh = await startMesh();
  await Promise.all(Array.from({ length: 8 }, () => provision(mesh.running, orderOf(mesh))));
  expect(await servicesOf(mesh.registry, mesh.app)).toHaveLength(8);
});

test("the bytes of an order whose service was terminated since make nothing", async () => {
  const mesh = await startMesh();
  const order = orderOf(mesh);
  const { serviceId } = await provision(mesh.running, order);
  const service = { app: mesh.app, serviceId, key: testKey("any") };
  await mesh.running.tenancy.terminateService({ statement: terminateOf(mesh.registry, service) });
  expect(await outcomeOf(provision(mesh.running, order))).toBe("TENANT_TERMINATED");
});

test("a refused order is undone, stays refused, and leaves the service ID free", async () => {
  const mesh = await startMesh();
  const { registry, running, app } = mesh;
  const service = await bindTestService(registry, app, "cms-article-77");
  const order = orderOf(mesh, { serviceId: "cms-article-77" });
  expect(await outcomeOf(provision(running, order))).toBe("REGISTRY_REFUSED SERVICE_ID_TAKEN");
  expect(running.told).toEqual(["provision cms-article-77", `terminate cms-article-77 ${DataHandling.WIPE}`]);
  registry.clock.advance(10);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  registry.clock.advance(10);
  expect(await outcomeOf(provision(running, order))).toBe("REGISTRY_REFUSED SERVICE_ID_TAKEN");
  await provision(running, orderOf(mesh, { serviceId: "cms-article-77" }));
  expect(tenantsIn(running, app)).toMatchObject([{ serviceId: "cms-article-77", state: "ACTIVE" }]);
});

test("a suspended service is restored: the same tenant with a fresh key", async () => {
  const mesh = await startMesh();
  const { registry, running, app } = mesh;
  const first = await provision(running, orderOf(mesh, { serviceId: "cms-article-77" }));
  const service = { app, serviceId: "cms-article-77", key: testKey("any") };
  registry.clock.advance(10);
  const tooEarly = orderOf(mesh, { serviceId: "cms-article-77" });
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });

  expect(await outcomeOf(provision(running, tooEarly))).toBe("REGISTRY_REFUSED PROOF_SUPERSEDED");
  expect(tenantsIn(running, app)).toMatchObject([{ serviceId: "cms-article-77", state: "ACTIVE" }]);

  registry.clock.advance(10);
  const again = await provision(running, orderOf(mesh, { serviceId: "cms-article-77" }));
  expect(again.publicKey).not.toEqual(first.publicKey);
  await expectOneService(registry, running, app, again);
  expect(running.told.filter((line) => line.startsWith("terminate"))).toEqual([]);
});

test("a suspended service is not restored as another type", async () => {
  const mesh = await startMesh({ serviceTypes: ["cms-article", "cms-video"] });
  const { registry, running, app } = mesh;
  const { publicKey } = await provision(running, orderOf(mesh, { serviceId: "cms-article-77" }));
  const service = { app, serviceId: "cms-article-77", key: testKey("any") };
  registry.clock.advance(10);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  registry.clock.advance(10);
  const order = orderOf(mesh, { serviceId: "cms-article-77", serviceType: "cms-video" });
  expect(await outcomeOf(provision(running, order))).toBe("PROVIDER_REFUSED service_type");
  expect(currentKeyIn(running, { appId: app.appId, serviceId: "cms-article-77" })).toBe(
    Buffer.from(publicKey).toString("hex"),
  );
});

/** An order that the registry could not be sent, as it went away in between. */
async function startInterrupted() {
  const { registry, restart } = await startDurableRegistry();
  const app = await registerTestApp(registry);
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const running = await startAgent(registry, {
    databaseFile,
    failpoint: async (name) => {
      if (name === "provision.before-call") await registry.stop();
    },
  });
  const order = orderOf({ registry, app }, { serviceId: "cms-article-77" });
  expect(await outcomeOf(provision(running, order))).toBe("REGISTRY_UNAVAILABLE");
  expect(tenantsIn(running, app)).toMatchObject([{ state: "PENDING" }]);
  await running.stop();
  return { app, databaseFile, order, restart, clock: registry.clock };
}

test("a refusal that may pass leaves the order under way", async () => {
  let known = false;
  const directory = testDirectory();
  const registry = await startRegistry({
    directory: {
      async lookup(domain) {
        if (!known) throw new Refusal(Reason.PROVIDER_UNKNOWN, "not yet", { metadata: { domain } });
        return directory.lookup(domain);
      },
    },
  });
  const app = await registerTestApp(registry);
  const running = await startAgent(registry);
  const order = orderOf({ registry, app });
  expect(await outcomeOf(provision(running, order))).toBe("REGISTRY_REFUSED PROVIDER_UNKNOWN");
  expect(tenantsIn(running, app)).toMatchObject([{ state: "PENDING" }]);
  known = true;
  await expectOneService(registry, running, app, await provision(running, order));
});

test("a service whose registry went away is bound when both are back", async () => {
  const { app, databaseFile, order, restart } = await startInterrupted();
  const registry = await restart();
  const running = await startAgent(registry, { databaseFile });
  await running.agent.start();
  expect(running.told).toContain("context cms-article-77 0");
  await expectOneService(registry, running, app, await provision(running, order));
});

test("an order that expired before its registry was back binds nothing", async () => {
  const { app, databaseFile, order, restart, clock } = await startInterrupted();
  clock.advance(10_000);
  const registry = await restart();
  const running = await startAgent(registry, { databaseFile });
  expect(await outcomeOf(provision(running, order))).toBe("PROOF_EXPIRED");
  expect(tenantsIn(running, app)).toEqual([]);
  expect(await servicesOf(registry, app)).toEqual([]);
  const again = await provision(running, orderOf({ registry, app }, { serviceId: "cms-article-77" }));
  await expectOneService(registry, running, app, again);
});

test("a new order for a tenant whose order is under way finds that one finished", async () => {
  const { app, databaseFile, order, restart } = await startInterrupted();
  const registry = await restart();
  const running = await startAgent(registry, { databaseFile });
  const another = orderOf({ registry, app }, { serviceId: "cms-article-77" });
  expect(await outcomeOf(provision(running, another))).toBe("SERVICE_ID_TAKEN");
  await expectOneService(registry, running, app, await provision(running, order));
});

test("a tenant that waits for its binding can be terminated", async () => {
  const { app, databaseFile, order, restart } = await startInterrupted();
  const registry = await restart();
  const running = await startAgent(registry, { databaseFile });
  const service = { app, serviceId: "cms-article-77", key: testKey("any") };
  await running.tenancy.terminateService({ statement: terminateOf(registry, service) });
  await running.agent.start();
  expect(await outcomeOf(provision(running, order))).toBe("TENANT_TERMINATED");
  expect(await servicesOf(registry, app)).toEqual([]);
  expect(running.told).toEqual([`terminate cms-article-77 ${DataHandling.WIPE}`]);
});

test("the agent publishes the provider's directory entry", async () => {
  const { running } = await startMesh();
  const [route] = running.agent.httpRoutes;
  expect(route?.path).toBe("/.well-known/omi");
  const answer = await route?.handler({} as Parameters<NonNullable<typeof route>["handler"]>[0]);
  expect(JSON.parse(String(answer?.body))).toMatchObject({
    domain: providers.article.domain,
    party: "PARTY_SERVICE_PROVIDER",
    keys: [{ publicKey: Buffer.from(providers.article.key.publicKey).toString("base64") }],
  });
});
