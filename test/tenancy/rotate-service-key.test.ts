import { expect, test } from "vitest";
import { bindTestService, registerTestApp, suspendOf, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { adopt, agreedKeys, hex, outcomeOf, rotate, rotateOf, startPart, terminate, terminateOf } from "./support.ts";

async function startMesh(options: Parameters<typeof startPart>[1] = {}) {
  const registry = await startRegistry();
  const part = await startPart(registry, options);
  const service = await bindTestService(registry, await registerTestApp(registry));
  await adopt(part, service, registry.clock.seconds());
  return { registry, part, service };
}

test("the key is rotated, and the old one is in grace", async () => {
  const { registry, part, service } = await startMesh();
  const rotated = await rotate(part, rotateOf(registry, service, { gracePeriodSeconds: 600 }));
  expect(rotated).toMatchObject({ appId: service.app.appId, serviceId: service.serviceId });
  expect(Number(rotated.gracePeriodExpiry)).toBe(registry.clock.seconds() + 600);
  expect(await agreedKeys(registry, part, service)).toEqual({
    current: hex(rotated.publicKey),
    grace: hex(service.key.publicKey),
  });
});

test("immediately, the old key stops at once", async () => {
  const { registry, part, service } = await startMesh();
  const rotated = await rotate(part, rotateOf(registry, service, { immediate: true }));
  expect(rotated.gracePeriodExpiry).toBe(0n);
  expect((await agreedKeys(registry, part, service)).grace).toBeUndefined();
});

test("the same order again has the same outcome, hours later and by another process too", async () => {
  const registry = await startRegistry();
  const databaseFile = `${temporaryFolder()}/part.db`;
  const first = await startPart(registry, { databaseFile });
  const service = await bindTestService(registry, await registerTestApp(registry));
  await adopt(first, service, registry.clock.seconds());
  const order = rotateOf(registry, service);
  const rotated = await rotate(first, order);
  const again = await rotate(first, order);
  registry.clock.advance(10_000);
  await rotate(first, rotateOf(registry, service));
  await first.stop();
  const second = await startPart(registry, { databaseFile });
  const hoursLater = await rotate(second, order);
  for (const { publicKey, previousPublicKey, gracePeriodExpiry } of [again, hoursLater]) {
    expect({ publicKey, previousPublicKey, gracePeriodExpiry }).toEqual({
      publicKey: rotated.publicKey,
      previousPublicKey: rotated.previousPublicKey,
      gracePeriodExpiry: rotated.gracePeriodExpiry,
    });
  }
  await agreedKeys(registry, second, service);
});

test("the same order many times at once rotates once", async () => {
  const { registry, part, service } = await startMesh();
  const order = rotateOf(registry, service);
  const answers = await Promise.all(Array.from({ length: 8 }, () => rotate(part, order)));
  expect(new Set(answers.map(({ publicKey }) => hex(publicKey))).size).toBe(1);
  await agreedKeys(registry, part, service);
});

test("in grace, another rotation is refused by the registry unless it is immediate", async () => {
  const { registry, part, service } = await startMesh();
  await rotate(part, rotateOf(registry, service));
  const order = rotateOf(registry, service);
  expect(await outcomeOf(rotate(part, order))).toBe("REGISTRY_REFUSED ROTATION_IN_GRACE");
  await agreedKeys(registry, part, service);
  registry.clock.advance(10_000);
  expect(await outcomeOf(rotate(part, order))).toBe("REGISTRY_REFUSED ROTATION_IN_GRACE");
  await rotate(part, rotateOf(registry, service));
  await rotate(part, rotateOf(registry, service, { immediate: true }));
  await agreedKeys(registry, part, service);
});

test("a suspended or unbound service is not rotated", async () => {
  const { registry, part, service } = await startMesh();
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  expect(await outcomeOf(rotate(part, rotateOf(registry, service)))).toBe("REGISTRY_REFUSED SERVICE_SUSPENDED");
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
  expect(await outcomeOf(rotate(part, rotateOf(registry, service)))).toBe("REGISTRY_REFUSED SERVICE_REVOKED");
});

test("a terminated tenant is not rotated, but what was rotated stays answerable", async () => {
  const { registry, part, service } = await startMesh();
  const order = rotateOf(registry, service);
  const rotated = await rotate(part, order);
  await terminate(part, terminateOf(registry, service));
  expect(await outcomeOf(rotate(part, rotateOf(registry, service)))).toBe("TENANT_TERMINATED");
  expect((await rotate(part, order)).publicKey).toEqual(rotated.publicKey);
});

test("a tenant that was never activated is not rotated", async () => {
  const { registry, part, service } = await startMesh();
  const { tenants, writes } = part.tenancy;
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  await writes.run("test", () => tenants.setState(tenant, "PENDING"));
  expect(await outcomeOf(rotate(part, rotateOf(registry, service)))).toBe("TENANT_UNKNOWN");
});

test("the provider rotates of its own accord", async () => {
  const { registry, part, service } = await startMesh();
  const tenant = { appId: service.app.appId, serviceId: service.serviceId };
  const { publicKey } = await part.tenancy.rotation.rotate(tenant, { gracePeriodSeconds: 600, immediate: false });
  expect(await agreedKeys(registry, part, service)).toEqual({
    current: hex(publicKey),
    grace: hex(service.key.publicKey),
  });
});

test("a provider that was restored from an old copy learns that its key is no longer current", async () => {
  const { registry, part, service } = await startMesh();
  const old = await startPart(registry);
  await adopt(old, service, registry.clock.seconds());
  await rotate(part, rotateOf(registry, service, { immediate: true }));
  expect(await outcomeOf(rotate(old, rotateOf(registry, service)))).toBe("REGISTRY_REFUSED KEY_NOT_CURRENT");
});
