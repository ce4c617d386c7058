import { copyFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { SubscriptionState } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { AppAnswerSchema, AppManifestSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { openAnswer, signStatement } from "../../src/statement/statement.ts";
import { connectionsTo, entryJson, refusalOf } from "../directory/support.ts";
import { bindTestService, headerAt, present, registerTestApp, type TestApp } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../support/registry.ts";
import { wayTo } from "../tenancy/support.ts";
import { carriedHeads, countTo, eventsOf, listen, pass, startSwitch, untilAt } from "./support.ts";

/** A registry at a fixed address, of which a backup was made after the app's first event; then it went on to the third. */
async function startWithBackup() {
  const folder = temporaryFolder();
  const [backup, newest] = [`${folder}/backup.db`, `${folder}/registry.db`];
  const way = await startSwitch();
  const first = await startRegistry({ databaseFile: newest });
  const { clock } = first;
  way.leadTo(first.url);
  const app = await registerTestApp(first);
  await first.stop();
  copyFileSync(newest, backup);
  let running = await startRegistry({ databaseFile: newest, clock });
  way.leadTo(running.url);
  for (const serviceId of ["article-1", "article-2"]) await bindTestService(running, app, serviceId);

  /** Puts another file in the place of the registry's. */
  async function restore(databaseFile: string): Promise<RunningRegistry> {
    await running.stop();
    running = await startRegistry({ databaseFile, clock });
    way.leadTo(running.url);
    return running;
  }
  const databaseFile = `${folder}/part.db`;
  const start = (registry: RunningRegistry) =>
    listen(registry, [app.appId], { databaseFile, registries: wayTo(registry, way.url) });
  return { app, registry: running, start, restore, backup, newest, databaseFile, url: way.url };
}

async function untilRolledBack(part: Awaited<ReturnType<typeof listen>>, registry: RunningRegistry, app: TestApp) {
  await vi.waitFor(async () => {
    await pass(registry, 1);
    expect(part.status(app.appId).state).toBe(SubscriptionState.ROLLED_BACK);
  });
  const refusal = await refusalOf(() => part.subscriber.assertCurrent(app.appId));
  expect(refusal.reason).toBe(Reason.REGISTRY_ROLLED_BACK);
  expect((await refusalOf(part.subscriber.currentSequence(app.appId))).reason).toBe(Reason.REGISTRY_ROLLED_BACK);
}

test("a registry that was restored from an old backup is believed again when it is restored to the newest state", async () => {
  const { app, registry, start, restore, backup, newest } = await startWithBackup();
  const part = await start(registry);
  await untilAt(part, app.appId, 3);
  const old = await restore(backup);
  await untilRolledBack(part, old, app);
  await pass(old, 10);
  expect(part.status(app.appId).state).toBe(SubscriptionState.ROLLED_BACK);

  const again = await restore(newest);
  await vi.waitFor(async () => {
    await pass(again, 1);
    expect(part.status(app.appId).state).toBe(SubscriptionState.CURRENT);
  });
  await bindTestService(again, app, "article-3");
  await part.carrier.bring(...(await eventsOf(again, app.appId)));
  expect(part.sequencesOf(app.appId)).toEqual(countTo(4));
});

test("a registry that was restored and has grown again is not believed: its log is another one", async () => {
  const { app, registry, start, restore, backup } = await startWithBackup();
  const part = await start(registry);
  await untilAt(part, app.appId, 3);
  const old = await restore(backup);
  await untilRolledBack(part, old, app);
  for (const serviceId of ["other-1", "other-2", "other-3"]) await bindTestService(old, app, serviceId);
  await part.carrier.bring(...(await eventsOf(old, app.appId)));
  await pass(old, 10);
  await untilRolledBack(part, old, app);
  expect(part.sequencesOf(app.appId)).toEqual(countTo(3));
});

test("a registry that was restored and has grown again before the part is connected anew is caught before it is believed", async () => {
  const { app, registry, start, restore, backup } = await startWithBackup();
  const part = await start(registry);
  await untilAt(part, app.appId, 3);
  const old = await restore(backup);
  for (const serviceId of ["other-1", "other-2", "other-3"]) await bindTestService(old, app, serviceId);
  await pass(old, 1);
  part.carrier.reconnect();
  await part.carrier.deliver({ heads: await carriedHeads(old, app.appId, 3n) });
  await part.carrier.bring(...(await eventsOf(old, app.appId)));
  await untilRolledBack(part, old, app);
  expect(part.sequencesOf(app.appId)).toEqual(countTo(3));
  await part.stop();

  const again = await start(old);
  await untilRolledBack(again, old, app);
  expect(again.sequencesOf(app.appId)).toEqual(countTo(3));
});

test("so is one that was restored and has grown again between two questions, without anybody's noticing", async () => {
  const { app, registry, start, restore, backup } = await startWithBackup();
  const part = await start(registry);
  await untilAt(part, app.appId, 3);
  const old = await restore(backup);
  for (const serviceId of ["other-1", "other-2", "other-3"]) await bindTestService(old, app, serviceId);
  await untilRolledBack(part, old, app);
  await part.carrier.bring(...(await eventsOf(old, app.appId)));
  expect(part.sequencesOf(app.appId)).toEqual(countTo(3));
});

test("so is one that was restored and has grown again while it could not be asked", async () => {
  const { app, registry, start, restore, backup } = await startWithBackup();
  const part = await start(registry);
  await untilAt(part, app.appId, 3);
  await registry.stop();
  await vi.waitFor(async () => {
    await pass(registry, 1);
    expect(part.status(app.appId).state).toBe(SubscriptionState.STALE);
  });
  const old = await restore(backup);
  for (const serviceId of ["other-1", "other-2", "other-3"]) await bindTestService(old, app, serviceId);
  await part.carrier.bring(...(await eventsOf(old, app.appId)));
  await untilRolledBack(part, old, app);
  expect(part.sequencesOf(app.appId)).toEqual(countTo(3));
});

test("a registry that was restored and has grown again while the part was away is caught at its start", async () => {
  const { app, registry, start, restore, backup } = await startWithBackup();
  const first = await start(registry);
  await untilAt(first, app.appId, 3);
  await first.stop();
  const old = await restore(backup);
  for (const serviceId of ["other-1", "other-2", "other-3"]) await bindTestService(old, app, serviceId);
  const part = await start(old);
  await part.carrier.bring(...(await eventsOf(old, app.appId)));
  await untilRolledBack(part, old, app);
  expect(part.sequencesOf(app.appId)).toEqual(countTo(3));
});

test("a registry that was restored while the part was away is caught at its start", async () => {
  const { app, registry, start, restore, backup } = await startWithBackup();
  const first = await start(registry);
  await untilAt(first, app.appId, 3);
  await first.stop();
  const old = await restore(backup);
  const part = await start(old);
  await untilRolledBack(part, old, app);
});

test("the apps of another registry go on", async () => {
  const { app, registry, restore, backup, databaseFile, url } = await startWithBackup();
  const domain = "second-registry.test";
  const second = await startRegistry({ domain, clock: registry.clock });
  const otherApp = await registerAt(second, domain);
  const entry = entryJson({
    domain,
    party: Party.REGISTRY,
    baseUrl: `http://${domain}`,
    keys: [{ publicKey: second.key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
  });
  const hosts = { [domain]: new URL(second.url).host };
  const { registries } = connectionsTo({ ...registry, url }, { directory: [entry], hosts });
  const part = await listen(registry, [app.appId, otherApp], { databaseFile, registries });
  await untilAt(part, app.appId, 3);
  await untilAt(part, otherApp, 1);
  const old = await restore(backup);
  await untilRolledBack(part, old, app);
  expect(await part.subscriber.currentSequence(otherApp)).toBe(1n);
  expect(part.status(otherApp).state).toBe(SubscriptionState.CURRENT);
});

/** Registers an app at a registry of another domain than that of most tests. */
async function registerAt({ registry, clock }: RunningRegistry, domain: string): Promise<string> {
  const master = testKey(`master at ${domain}`);
  const namespace = "elsewhere";
  const claim = {
    header: headerAt(clock, domain),
    publicKey: master.publicKey,
    algorithm: KeyAlgorithm.ED25519,
    namespaceClaim: namespace,
  };
  await registry.claimNamespace({ statement: signStatement(NamespaceClaimSchema, claim, master) });
  const manifest = {
    header: headerAt(clock, domain),
    ownerNamespace: namespace,
    projectSlug: "shop",
    displayName: "Shop",
  };
  const { answer } = await registry.registerApp({ statement: signStatement(AppManifestSchema, manifest, master) });
  return present(openAnswer(AppAnswerSchema, present(answer)).message.app).appId;
}
