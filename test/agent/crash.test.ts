import { expect, test } from "vitest";
import { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { provisionFailpoints } from "../../src/agent/failpoints.ts";
import { bindTestService, registerTestApp, suspendOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { startRegistry } from "../support/registry.ts";
import { Crash } from "../tenancy/crash.ts";
import { outcomeOf } from "../tenancy/support.ts";
import {
  expectOneService,
  provision,
  serviceOrder,
  servicesOf,
  startAgent,
  type TestAgentOptions,
  tenantsIn,
} from "./support.ts";

const SERVICE_ID = "cms-article-77";

/** A registry with an app, and an agent that can be started again and again on the same file. */
async function startMesh() {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const start = (options: TestAgentOptions = {}) => startAgent(registry, { databaseFile, ...options });
  return { registry, app, start };
}

type Mesh = Awaited<ReturnType<typeof startMesh>>;

/** Runs an agent that dies at a failpoint while it deals with an order. Returns what the service was told. */
async function crashAt({ start }: Mesh, name: string, order: Statement): Promise<readonly string[]> {
  const crash = new Crash(name);
  const running = await start({ failpoint: crash.failpoint });
  expect(await outcomeOf(provision(running, order))).toBe("INTERNAL");
  expect(crash.happened).toBe(true);
  await running.stop();
  return running.told;
}

// After the crash, the process that comes back finishes by itself what was begun, or the developer sends the same bytes,
// even hours later if the registry had heard of it.
const recoveries = ["start", "same bytes"] as const;

function walk(failpoints: readonly string[]) {
  return failpoints.flatMap((name) => recoveries.map((recovery) => ({ name, recovery })));
}

function isOfRefusal(name: string): boolean {
  return name.startsWith("provision.refuse") || name.endsWith("-undo");
}

test.each(walk(provisionFailpoints.filter((name) => !isOfRefusal(name))))(
  "an order that crashed at $name is finished by: $recovery",
  async ({ name, recovery }) => {
    const mesh = await startMesh();
    const { registry, app, start } = mesh;
    const order = serviceOrder(registry, app);
    const toldBefore = await crashAt(mesh, name, order);
    const bound = await servicesOf(registry, app);
    if (bound.length > 0) registry.clock.advance(10_000);

    const running = await start();
    if (recovery === "start") await running.agent.start();
    const provisioned = await provision(running, order);
    await expectOneService(registry, running, app, provisioned);
    if (bound.length > 0) expect(bound).toMatchObject([{ serviceId: provisioned.serviceId }]);
    const told = [...toldBefore, ...running.told];
    expect(told).toContain(`provision ${provisioned.serviceId}`);
    expect(told).toContain(`context ${provisioned.serviceId} 0`);
    await running.stop();

    const later = await start();
    const { serviceId, publicKey, endpointUrl } = await provision(later, order);
    expect({ serviceId, publicKey, endpointUrl }).toMatchObject({
      serviceId: provisioned.serviceId,
      publicKey: provisioned.publicKey,
      endpointUrl: provisioned.endpointUrl,
    });
    expect(later.told).toEqual([]);
  },
);

test.each(walk(provisionFailpoints.filter(isOfRefusal)))(
  "a refused order that crashed at $name is undone by: $recovery",
  async ({ name, recovery }) => {
    const mesh = await startMesh();
    const { registry, app, start } = mesh;
    await bindTestService(registry, app, SERVICE_ID);
    const services = await servicesOf(registry, app);
    const order = serviceOrder(registry, app, { serviceId: SERVICE_ID });
    const toldBefore = await crashAt(mesh, name, order);

    const running = await start();
    if (recovery === "start") await running.agent.start();
    expect(await outcomeOf(provision(running, order))).toBe("REGISTRY_REFUSED SERVICE_ID_TAKEN");
    expect(tenantsIn(running, app)).toEqual([]);
    expect(await servicesOf(registry, app)).toEqual(services);
    expect([...toldBefore, ...running.told]).toContain(`terminate ${SERVICE_ID} ${DataHandling.WIPE}`);
  },
);

test.each(walk(["provision.begin.after-commit", "provision.after-call", "provision.finish.after-commit"]))(
  "a restoration that crashed at $name is finished by: $recovery",
  async ({ name, recovery }) => {
    const mesh = await startMesh();
    const { registry, app, start } = mesh;
    const first = await start();
    const { publicKey } = await provision(first, serviceOrder(registry, app, { serviceId: SERVICE_ID }));
    await first.stop();
    registry.clock.advance(10);
    const service = { app, serviceId: SERVICE_ID, key: testKey("any") };
    await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
    registry.clock.advance(10);
    const order = serviceOrder(registry, app, { serviceId: SERVICE_ID });
    await crashAt(mesh, name, order);

    const running = await start();
    if (recovery === "start") await running.agent.start();
    const restored = await provision(running, order);
    expect(restored.publicKey).not.toEqual(publicKey);
    await expectOneService(registry, running, app, restored);
  },
);

test("a service that is suspended before its provider knows of its binding is undone, and can be restored", async () => {
  const mesh = await startMesh();
  const { registry, app, start } = mesh;
  const order = serviceOrder(registry, app, { serviceId: SERVICE_ID });
  await crashAt(mesh, "provision.after-call", order);
  registry.clock.advance(10);
  const service = { app, serviceId: SERVICE_ID, key: testKey("any") };
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });

  const running = await start();
  await running.agent.start();
  expect(tenantsIn(running, app)).toEqual([]);
  expect(await outcomeOf(provision(running, order))).toBe("REGISTRY_REFUSED PROOF_SUPERSEDED");
  expect(await servicesOf(registry, app)).toMatchObject([{ status: ServiceStatus.SUSPENDED }]);
  registry.clock.advance(10);
  const restored = await provision(running, serviceOrder(registry, app, { serviceId: SERVICE_ID }));
  await expectOneService(registry, running, app, restored);
});
