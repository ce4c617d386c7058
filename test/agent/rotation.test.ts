import BetterSqlite3 from "better-sqlite3";
import { expect, test, vi } from "vitest";
import { isDue } from "../../src/agent/rotation-schedule.ts";
import { suspendOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { Crash } from "../tenancy/crash.ts";
import { hex, recordOf } from "../tenancy/support.ts";
import { startProvisioned } from "./provisioned.ts";
import { currentKeyIn, startAgent } from "./support.ts";

test("the vendor rotates a key on demand", async () => {
  const { registry, running, service } = await startProvisioned();
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  const before = currentKeyIn(running, tenant);
  const { publicKey, previousPublicKey } = await running.agent.rotate(tenant, { immediate: true });
  expect(hex(previousPublicKey)).toBe(before);
  expect(currentKeyIn(running, tenant)).toBe(hex(publicKey));
  expect((await recordOf(registry, service)).keys.map((key) => hex(key.publicKey))).toEqual([hex(publicKey)]);
});

test("a rotation that a crash cut off is finished at the start", async () => {
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const { registry, running, service } = await startProvisioned({ databaseFile });
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  await running.stop();
  const crash = new Crash("rotation.after-call");
  const crashing = await startAgent(registry, { databaseFile, failpoint: crash.failpoint });
  await expect(crashing.agent.rotate(tenant)).rejects.toThrow();
  await crashing.stop();

  const later = await startAgent(registry, { databaseFile });
  await later.agent.start();
  const [active] = (await recordOf(registry, service)).keys;
  expect(currentKeyIn(later, tenant)).toBe(hex(active?.publicKey));
});

test("keys are rotated by schedule, but for suspended services", async () => {
  const everySeconds = 86_400;
  const { registry, running, service } = await startProvisioned({ rotation: { everySeconds } });
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  const first = currentKeyIn(running, tenant);
  await running.agent.start();
  expect(currentKeyIn(running, tenant)).toBe(first);

  registry.clock.advance(everySeconds);
  await vi.waitFor(() => expect(currentKeyIn(running, tenant)).not.toBe(first));
  const second = currentKeyIn(running, tenant);
  await vi.waitFor(async () => {
    const [active] = (await recordOf(registry, service)).keys;
    expect(hex(active?.publicKey)).toBe(second);
  });

  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  registry.clock.advance(everySeconds);
  await running.stop();
  expect(currentKeyIn(running, tenant)).toBe(second);
});

test("a database that can't be read for a while ends nothing: what is due then is done later", async () => {
  const everySeconds = 86_400;
  const { registry, running, service } = await startProvisioned({ rotation: { everySeconds } });
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  const first = currentKeyIn(running, tenant);
  await running.agent.start();
  const db = new BetterSqlite3(running.databaseFile);
  db.exec("ALTER TABLE rotations RENAME TO unreadable");
  registry.clock.advance(everySeconds);
  await new Promise((resolve) => setImmediate(resolve));
  expect(currentKeyIn(running, tenant)).toBe(first);
  db.exec("ALTER TABLE unreadable RENAME TO rotations");
  db.close();
  registry.clock.advance(75);
  await vi.waitFor(() => expect(currentKeyIn(running, tenant)).not.toBe(first));
});

test("keys become due within the last tenth of their time, each at its own moment", () => {
  const dueAt = (name: string) => {
    const { publicKey } = testKey(name);
    let age = 0;
    while (!isDue({ publicKey, since: 0 }, 1000, age)) age++;
    return age;
  };
  const moments = ["a", "b", "c", "d", "e", "f"].map(dueAt);
  for (const moment of moments) {
    expect(moment).toBeGreaterThan(900);
    expect(moment).toBeLessThanOrEqual(1000);
  }
  expect(new Set(moments).size).toBeGreaterThan(1);
});
