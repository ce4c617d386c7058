import { createClient } from "@connectrpc/connect";
import BetterSqlite3 from "better-sqlite3";
import { expect, test, vi } from "vitest";
import { DataHandling, TerminateSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { AccountStatus } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { usageFailpoints } from "../../src/agent/failpoints.ts";
import { Reason } from "../../src/core/refusal.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { outcomeOf } from "../auth/support.ts";
import { billingProvider, type RunningBilling, readBill, startBilling, totalsOf } from "../billing/support.ts";
import { backboneOf, headerAt, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { providers } from "../support/registry.ts";
import { type CallingAgent, type CallingMesh, startCallingMesh } from "./calls.ts";

const one = [{ meter: "articles_stored", amount: 1n }];

type World = CallingMesh & {
  readonly article: CallingAgent;
  readonly running: RunningBilling;
  readonly tenant: { readonly appId: string; readonly serviceId: string };
  readonly service: Parameters<typeof readBill>[1];
  readonly billingFile: string;
};

/** A service of article.cms.test in an app whose backbone names billing.test. */
async function startWorld(options: Parameters<CallingMesh["startAgent"]>[1] = {}): Promise<World> {
  const mesh = await startCallingMesh();
  const { registry, app } = mesh;
  const update = backboneOf(registry.clock, app, { expectedConfigEpoch: 1n });
  await registry.registry.updateBackbone({ statement: update });
  const billingFile = `${temporaryFolder()}/billing.db`;
  const running = await startBilling(registry, { databaseFile: billingFile });
  mesh.locate({ ...billingProvider, party: Party.BILLING_PROVIDER, at: running.at });
  const article = await mesh.startAgent(providers.article, options);
  await mesh.provision(article, "journal");
  const tenant = { appId: app.appId, serviceId: "journal" };
  const service = { app, serviceId: "journal", key: testKey("nobody") };
  return { ...mesh, article, running, tenant, service, billingFile };
}

async function billed(world: World): Promise<Record<string, number>> {
  return totalsOf(await readBill(world, world.service));
}

/** What the agent's file still has to report: rows. */
function leftIn({ databaseFile }: CallingAgent): number {
  const db = new BetterSqlite3(databaseFile, { readonly: true });
  try {
    const count = "SELECT (SELECT count(*) FROM usage_pending) + (SELECT count(*) FROM usage_reports)";
    return db.prepare<[], number>(count).pluck().get() ?? 0;
  } finally {
    db.close();
  }
}

test("usage gets to the billing service of the app, added up", async () => {
  const world = await startWorld();
  const { agent } = world.article;
  await Promise.all([1, 2, 3].map(() => agent.reportUsage(world.tenant, one)));
  await agent.reportUsage(world.tenant, [{ meter: "bytes-sent", amount: 500n }]);
  await vi.waitFor(async () => expect(await billed(world)).toEqual({ articles_stored: 3, "bytes-sent": 500 }));
  await vi.waitFor(() => expect(leftIn(world.article)).toBe(0));
});

test("usage waits for a billing service that is away, also over a restart, and counts once", async () => {
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const world = await startWorld({ databaseFile });
  const { registry, running, article } = world;
  await running.stop();
  for (let i = 0; i < 3; i++) await article.agent.reportUsage(world.tenant, one);
  await article.stop();
  expect(leftIn(article)).toBeGreaterThan(0);
  const back = await startBilling(registry, { databaseFile: world.billingFile });
  world.locate({ ...billingProvider, party: Party.BILLING_PROVIDER, at: back.at });
  const again = await world.startAgent(providers.article, { databaseFile });
  await again.agent.start();
  await vi.waitFor(() => expect(leftIn(again)).toBe(0));
  expect(await billed({ ...world, running: back })).toEqual({ articles_stored: 3 });
});

test("usage that could not be sent is sent again by itself", async () => {
  const world = await startWorld();
  const { registry, running, article } = world;
  const { clock } = registry;
  await running.stop();
  await article.agent.reportUsage(world.tenant, one);
  const back = await startBilling(registry, { databaseFile: world.billingFile });
  world.locate({ ...billingProvider, party: Party.BILLING_PROVIDER, at: back.at });
  await vi.waitFor(() => {
    clock.advance(1);
    expect(leftIn(article)).toBe(0);
  });
  expect(await billed({ ...world, running: back })).toEqual({ articles_stored: 1 });
});

test("usage that is taken in the commit that finds nothing more to report is reported, too", async () => {
  let more: Promise<void> | undefined;
  const failpoint = (at: string) => {
    if (at !== "usage.sent.after-commit" || more !== undefined) return;
    // Behind the look for more, which is made as soon as this job's outcome is known, and before its commit.
    more = new Promise((resolve, reject) => {
      setImmediate(() => world.article.agent.reportUsage(world.tenant, one).then(resolve, reject));
    });
  };
  const world = await startWorld({ failpoint });
  await world.article.agent.reportUsage(world.tenant, one);
  await vi.waitFor(() => expect(more).toBeDefined());
  await more;
  await vi.waitFor(() => expect(leftIn(world.article)).toBe(0));
  expect(await billed(world)).toEqual({ articles_stored: 2 });
});

// An app whose backbone names no billing service, and an account that was closed, see below.
const sending = usageFailpoints.filter((name) => !name.startsWith("usage.drop."));

test.each(sending)("a crash at %s: usage that was taken counts once", async (name) => {
  const databaseFile = `${temporaryFolder()}/agent.db`;
  let crashed = false;
  const failpoint = (at: string) => {
    if (at !== name || crashed) return;
    crashed = true;
    throw new Error(`crashed at ${at}`);
  };
  const world = await startWorld({ databaseFile, failpoint });
  const outcome = await world.article.agent.reportUsage(world.tenant, one).then(
    () => "taken",
    () => "failed",
  );
  await vi.waitFor(() => expect(crashed).toBe(true));
  await world.article.stop();
  const again = await world.startAgent(providers.article, { databaseFile });
  await again.agent.start();
  // What failed before the commit was never taken; what failed behind it was, and its caller doesn't know.
  const taken = outcome === "taken" || name.endsWith("after-commit");
  expect(outcome).toBe(name.startsWith("usage.add.") ? "failed" : "taken");
  await again.agent.reportUsage(world.tenant, one);
  await vi.waitFor(() => expect(leftIn(again)).toBe(0));
  expect(await billed(world)).toEqual({ articles_stored: taken ? 2 : 1 });
});

test("usage of an app without billing service is nobody's business", async () => {
  const mesh = await startCallingMesh();
  const article = await mesh.startAgent(providers.article);
  await mesh.provision(article, "journal");
  await article.agent.reportUsage({ appId: mesh.app.appId, serviceId: "journal" }, one);
  expect(leftIn(article)).toBe(0);
});

test("lines that the contract doesn't allow are refused, and so is a tenant that isn't one", async () => {
  const world = await startWorld();
  const { agent } = world.article;
  const refused = (lines: { meter: string; amount: bigint }[]) => outcomeOf(agent.reportUsage(world.tenant, lines));
  expect(await refused([{ meter: "No meter", amount: 1n }])).toBe("FIELD_INVALID lines[0].meter format");
  expect(await refused([...one, { meter: "bytes", amount: 0n }])).toBe("FIELD_INVALID lines[1].amount required");
  expect(await outcomeOf(agent.reportUsage({ ...world.tenant, serviceId: "nobody" }, one))).toBe("TENANT_UNKNOWN");
});

test("what was used before the end of a tenant is in the final bill, and nothing is reported after it", async () => {
  const world = await startWorld();
  const { registry, app, article, tenant, connections } = world;
  await article.agent.reportUsage(tenant, one);
  await article.agent.reportUsage(tenant, one);
  const transport = await connections().transportFor(article.domain, Reason.INTERNAL);
  const message = {
    header: headerAt(registry.clock, article.domain),
    ...tenant,
    context: "permanent_termination",
    dataHandling: DataHandling.WIPE,
  };
  const { receipt } = await createClient(TenancyService, transport).terminateService({
    statement: signStatement(TerminateSchema, message, app.master),
  });
  expect(leftIn(article)).toBe(0);
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, world.service, receipt) });
  await vi.waitFor(async () => {
    expect(await readBill(world, world.service)).toMatchObject({ status: AccountStatus.CLOSED });
  });
  expect(await billed(world)).toEqual({ articles_stored: 2 });
  expect(await outcomeOf(article.agent.reportUsage(tenant, one))).toBe("TENANT_TERMINATED");
});

test("usage of a service that was unbound without its provider's doing is dropped", async () => {
  const world = await startWorld();
  const { registry, running, article, tenant } = world;
  await article.agent.reportUsage(tenant, one);
  await vi.waitFor(() => expect(leftIn(article)).toBe(0));
  await running.stop();
  await article.agent.reportUsage(tenant, one);
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, world.service) });
  const back = await startBilling(registry, { databaseFile: world.billingFile });
  world.locate({ ...billingProvider, party: Party.BILLING_PROVIDER, at: back.at });
  await vi.waitFor(() => {
    registry.clock.advance(11);
    expect(leftIn(article)).toBe(0);
  });
  expect(await billed({ ...world, running: back })).toEqual({ articles_stored: 1 });
});

test("usage for a billing service that the backbone no longer names is dropped", async () => {
  const world = await startWorld();
  const { registry, app, running, article, tenant } = world;
  await running.stop();
  await article.agent.reportUsage(tenant, one);
  const update = backboneOf(registry.clock, app, { operationalServices: [], expectedConfigEpoch: 2n });
  await registry.registry.updateBackbone({ statement: update });
  await vi.waitFor(() => {
    registry.clock.advance(11);
    expect(leftIn(article)).toBe(0);
  });
});
