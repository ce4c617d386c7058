import { expect, test, vi } from "vitest";
import { BackboneUpdateSchema, OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { contextFailpoints } from "../../src/agent/failpoints.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { headerAt, registerTestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { Crash } from "../tenancy/crash.ts";
import { outcomeOf, rotateOf } from "../tenancy/support.ts";
import { type ProvisionedMesh, startProvisioned, tokenFor } from "./provisioned.ts";
import { provision, serviceOrder, startAgent } from "./support.ts";

const TENANT = "cms-article-77";

/** Gives the app a backbone, which makes `epoch` the config epoch. */
async function updateBackbone({ registry, app }: Pick<ProvisionedMesh, "registry" | "app">, epoch: bigint) {
  const message = {
    header: headerAt(registry.clock),
    appId: app.appId,
    operationalServices: [{ role: OperationalRole.LOGGING, name: `logs-${epoch}`, url: "http://logs.backbone.test" }],
    expectedConfigEpoch: epoch - 1n,
  };
  await registry.registry.updateBackbone({ statement: signStatement(BackboneUpdateSchema, message, app.master) });
}

test("a changed context is told to the service when a user's call brings it up, and once", async () => {
  const mesh = await startProvisioned();
  const { registry, running, service } = mesh;
  await running.agent.authenticate(tokenFor(registry, service));
  await updateBackbone(mesh, 2n);
  registry.clock.advance(11);
  await running.agent.authenticate(tokenFor(registry, service));
  await vi.waitFor(() => expect(running.told).toContain(`context ${TENANT} 2`));
  expect(running.contexts.at(-1)?.operationalServices[0]?.name).toBe("logs-2");
  registry.clock.advance(11);
  await running.agent.authenticate(tokenFor(registry, service));
  await running.stop();
  expect(running.told.filter((line) => line.startsWith("context"))).toEqual([
    `context ${TENANT} 1`,
    `context ${TENANT} 2`,
  ]);
});

test("a changed context is told to the service when the hint beside an answer brings it up", async () => {
  const mesh = await startProvisioned();
  const { registry, running, service } = mesh;
  await updateBackbone(mesh, 2n);
  await running.tenancy.rotateServiceKey({ statement: rotateOf(registry, service) });
  await vi.waitFor(() => expect(running.told).toContain(`context ${TENANT} 2`));
});

test("a service that could not take its context is told again by the next attempt", async () => {
  let broken = true;
  const registry = await startRegistry();
  const running = await startAgent(registry, {
    hooks: {
      onContext() {
        if (broken) throw new Error("not now");
      },
    },
  });
  const app = await registerTestApp(registry);
  const order = serviceOrder(registry, app, { serviceId: TENANT });
  expect(await outcomeOf(provision(running, order))).toBe("INTERNAL");
  await running.agent.start();
  expect(running.contexts).toEqual([]);
  broken = false;
  await provision(running, order);
  expect(running.told).toEqual([`provision ${TENANT}`, `context ${TENANT} 0`]);
});

test.each([...contextFailpoints, "context.before-hook", "context.after-hook"])(
  "news of a context that were cut off at %s arrive after a restart",
  async (name) => {
    const databaseFile = `${temporaryFolder()}/agent.db`;
    const mesh = await startProvisioned({ databaseFile });
    const { registry, running, service } = mesh;
    await running.stop();
    await updateBackbone(mesh, 2n);
    const crash = new Crash(name);
    const crashing = await startAgent(registry, { databaseFile, failpoint: crash.failpoint });
    await crashing.agent.authenticate(tokenFor(registry, service));
    await vi.waitFor(() => expect(crash.happened).toBe(true));
    await crashing.stop();

    const later = await startAgent(registry, { databaseFile });
    await later.agent.start();
    await later.agent.authenticate(tokenFor(registry, service));
    await vi.waitFor(() => expect(later.told).toEqual([`context ${TENANT} 2`]));
  },
);
