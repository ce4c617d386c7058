import { copyFileSync, writeFileSync } from "node:fs";
import { createClient } from "@connectrpc/connect";
import BetterSqlite3 from "better-sqlite3";
import { expect, test, vi } from "vitest";
import { SubscriberService, SubscriptionState } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { ProcessConfigFile } from "../../src/operator/config.ts";
import { holdAlone } from "../../src/store/alone.ts";
import { provision, type RunningAgent, serviceOrder, startAgent } from "../agent/support.ts";
import { omi } from "../cli/support.ts";
import { pass, startSwitch } from "../events/support.ts";
import { backboneOf, bindTestService, registerTestApp, suspendOf, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { type RunningRegistry, registryDomain, startRegistry } from "../support/registry.ts";

/**
 * An agent whose registry was restored from a backup and has grown again since: after the backup the service `unbound` was
 * unbound, `suspended` was suspended, and the backbone changed, of which the registry knows nothing any more.
 */
async function startRolledBack() {
  const folder = temporaryFolder();
  const [backup, newest] = [`${folder}/backup.db`, `${folder}/registry.db`];
  const way = await startSwitch();
  let registry = await startRegistry({ databaseFile: newest });
  const { clock } = registry;
  const restart = async (databaseFile: string) => {
    await registry.stop();
    registry = await startRegistry({ databaseFile, clock });
    way.leadTo(registry.url);
    return registry;
  };
  way.leadTo(registry.url);
  const databaseFile = `${folder}/agent.db`;
  const start = async (): Promise<RunningAgent> => {
    const running = await startAgent(registry, { databaseFile, registryUrl: way.url });
    await running.agent.start();
    return running;
  };
  const agent = await start();
  const app = await registerTestApp(registry);
  for (const serviceId of ["journal", "unbound", "suspended"]) {
    await provision(agent, serviceOrder(registry, app, { serviceId }));
  }
  const service = (serviceId: string) => ({ app, serviceId, key: testKey("nobody") });
  await registry.stop();
  copyFileSync(newest, backup);
  await restart(newest);
  await registry.registry.unbindService({ statement: unbindOf(clock, service("unbound")) });
  await registry.registry.suspendService({ statement: suspendOf(clock, service("suspended")) });
  await registry.registry.updateBackbone({ statement: backboneOf(clock, app, { expectedConfigEpoch: 0n }) });
  await untilState(agent, registry, app.appId, { state: SubscriptionState.CURRENT, sequence: 7 });

  await restart(backup);
  for (const serviceId of ["other-1", "other-2", "other-3", "other-4"]) await bindTestService(registry, app, serviceId);
  await untilState(agent, registry, app.appId, { state: SubscriptionState.ROLLED_BACK });
  const config: ProcessConfigFile = {
    mesh: { development: true },
    server: { port: 0 },
    cmsArticle: {
      domain: "article.cms.test",
      keyFile: "key.json",
      baseUrl: "http://article.cms.test",
      agentDatabaseFile: "agent.db",
      articleDatabaseFile: "articles.db",
    },
  };
  const configFile = `${folder}/config.json`;
  writeFileSync(configFile, JSON.stringify(config));
  const reset = (...args: string[]) => omi(["events", "reset", configFile, "--registry", registryDomain, ...args]);
  return { registry, agent, app, start, reset, databaseFile };
}

async function untilState(
  { transport }: RunningAgent,
  registry: RunningRegistry,
  appId: string,
  { state, sequence }: { state: SubscriptionState; sequence?: number },
): Promise<void> {
  await vi.waitFor(async () => {
    await pass(registry, 1);
    const subscription = await createClient(SubscriberService, transport).getSubscription({ appId });
    expect(subscription.state).toBe(state);
    if (sequence !== undefined) expect(subscription.appliedSequence).toBe(BigInt(sequence));
  }, 20_000);
}

function read(databaseFile: string) {
  const db = new BetterSqlite3(databaseFile);
  try {
    return {
      cursors: db.prepare("SELECT sequence FROM event_cursors").pluck().all(),
      seen: db.prepare("SELECT log_index FROM seen_logs").pluck().all(),
      standings: Object.fromEntries(
        db.prepare<[], [string, ServiceStatus]>("SELECT service_id, status FROM standings").raw().all(),
      ),
    };
  } finally {
    db.close();
  }
}

test("a part of a registry with another history goes on after a reset; what it saw unbound stays so", async () => {
  const { registry, agent, app, start, reset, databaseFile } = await startRolledBack();
  const { appId } = app;

  await agent.stop();
  const release = holdAlone(databaseFile);
  expect(await reset("--yes", "--json")).toMatchObject({ code: 2, stdout: "" });
  release?.();

  const before = read(databaseFile);
  const shown = await reset("--json");
  expect(shown.code).toBe(0);
  expect(JSON.parse(shown.stdout)).toMatchObject({
    registry: registryDomain,
    database: databaseFile,
    done: false,
    forgotten: { log_index: before.seen[0], apps: [{ app_id: appId, sequence: 7 }] },
    stay_revoked: [{ app_id: appId, service_id: "unbound" }],
    suspended_until_history_says: [{ app_id: appId, service_id: "suspended" }],
  });
  expect(read(databaseFile)).toEqual(before);
  const again = await start();
  await untilState(again, registry, appId, { state: SubscriptionState.ROLLED_BACK });
  await again.stop();

  const done = await reset("--yes", "--json");
  expect(done.code).toBe(0);
  expect(JSON.parse(done.stdout)).toEqual({ ...JSON.parse(shown.stdout), done: true });
  expect(read(databaseFile)).toMatchObject({ cursors: [], seen: [] });
  const last = await start();
  await untilState(last, registry, appId, { state: SubscriptionState.CURRENT, sequence: 8 });
  expect(read(databaseFile).standings).toMatchObject({
    unbound: ServiceStatus.REVOKED,
    suspended: ServiceStatus.ACTIVE,
    journal: ServiceStatus.ACTIVE,
  });
  // What it knew of the backbone is of the history that is gone.
  await vi.waitFor(() => expect(last.agent.context({ appId, serviceId: "journal" })?.operationalServices).toEqual([]));
  const statement = suspendOf(registry.clock, { app, serviceId: "journal", key: testKey("nobody") });
  await registry.registry.suspendService({ statement });
  await untilState(last, registry, appId, { state: SubscriptionState.CURRENT, sequence: 9 });
  expect(read(databaseFile).standings).toMatchObject({ journal: ServiceStatus.SUSPENDED });
});

test("people are told what would become of it", async () => {
  const { agent, app, reset } = await startRolledBack();
  await agent.stop();
  const { code, stdout } = await reset();
  expect(code).toBe(0);
  expect(stdout).toContain(`${app.appId} up to event 7`);
  expect(stdout).toContain("Nothing was changed");
});

test("a configuration that is none, a registry's, or of a part that knows nothing of the registry ends with 2", async () => {
  const folder = temporaryFolder();
  const configFile = `${folder}/config.json`;
  const reset = () => omi(["events", "reset", configFile, "--registry", registryDomain, "--yes"]);
  expect((await reset()).code).toBe(2);
  const common = { mesh: { development: true }, server: { port: 0 } };
  const registry = { domain: registryDomain, databaseFile: "registry.db", keys: [{ file: "key.json" }] };
  writeFileSync(configFile, JSON.stringify({ ...common, registry }));
  expect((await reset()).code).toBe(2);
  const billing = { domain: "billing.test", keyFile: "key.json", baseUrl: "http://billing.test", databaseFile: "b.db" };
  writeFileSync(configFile, JSON.stringify({ ...common, billing }));
  expect((await reset()).code).toBe(2);
});
