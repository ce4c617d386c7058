import { expect, test } from "vitest";
import { ServiceAnswerSchema, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestService,
} from "../../support/developer.ts";
import { testKey, testNonce } from "../../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { refused } from "../support/refused.ts";

async function started(options: Parameters<typeof startRegistry>[0] = {}) {
  const registry = await startRegistry(options);
  return { registry, service: await bindTestService(registry, await registerTestApp(registry)) };
}

/** The service as the registry tells everybody, or only the caller if `fresh`. */
async function read({ resolver, clock }: RunningRegistry, { app, serviceId }: TestService, fresh = false) {
  const nonce = fresh ? testNonce() : new Uint8Array();
  const { answer } = await resolver.resolveService({ appId: app.appId, serviceId, nonce });
  const { header, message } = openAnswer(ServiceAnswerSchema, present(answer));
  const service = present(message.service);
  return {
    status: service.status,
    keys: service.keys.map((key) => key.keyId),
    age: clock.seconds() - Number(header.issuedAt),
    expiresIn: Number(header.expiresAt) - clock.seconds(),
    answer: present(answer),
  };
}

test("an answer for everybody is at no time expired or older than a minute", async () => {
  const { registry, service } = await started();
  for (let second = 0; second < 130; second++) {
    const { age, expiresIn } = await read(registry, service);
    expect(age).toBeLessThan(60);
    expect(expiresIn).toBeGreaterThan(0);
    expect(expiresIn).toBeLessThanOrEqual(60);
    registry.clock.advance(1);
  }
});

test("an answer to a nonce is made for this call", async () => {
  const { registry, service } = await started();
  const before = await read(registry, service, true);
  registry.clock.advance(20);
  const after = await read(registry, service, true);
  expect([before, after].map(({ age }) => age)).toEqual([0, 0]);
  expect(after.answer).not.toEqual(before.answer);
});

test("an answer for everybody is kept beside what callers with a nonce are answered from", async () => {
  const { registry, service } = await started();
  await read(registry, service, true);
  const first = await read(registry, service);
  registry.clock.advance(20);
  await read(registry, service, true);
  expect((await read(registry, service)).answer).toEqual(first.answer);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  for (const fresh of [true, false]) {
    expect((await read(registry, service, fresh)).status).toBe(ServiceStatus.SUSPENDED);
  }
});

test.each([false, true])("what was written is read at once (with a nonce: %s)", async (fresh) => {
  const { registry, service } = await started();
  expect((await read(registry, service, fresh)).status).toBe(ServiceStatus.ACTIVE);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  expect(await read(registry, service, fresh)).toMatchObject({ status: ServiceStatus.SUSPENDED, keys: [] });
});

/** A registry whose answers to reads are signed no sooner than `release` says. */
async function startedWithSlowSignatures() {
  const key = testKey("registry");
  const gate = Promise.withResolvers<void>();
  const signing: Uint8Array[] = [];
  const slow: SigningKey = {
    ...key,
    async signAside(bytes) {
      signing.push(bytes);
      await gate.promise;
      return key.sign(bytes);
    },
  };
  const keys = [{ key: slow, notBefore: 0, notAfter: 0 }];
  return { ...(await started({ keys })), signing, release: gate.resolve };
}

test.each([false, true])("what changes while an answer is signed is in the next (with a nonce: %s)", async (fresh) => {
  const { registry, service, signing, release } = await startedWithSlowSignatures();
  const first = read(registry, service, fresh);
  await expect.poll(() => signing.length).toBe(1);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  const second = read(registry, service, fresh);
  await expect.poll(() => signing.length).toBe(2);
  release();
  expect((await first).status).toBe(ServiceStatus.ACTIVE);
  expect((await second).status).toBe(ServiceStatus.SUSPENDED);
  expect((await read(registry, service, fresh)).status).toBe(ServiceStatus.SUSPENDED);
});

test("those who ask for the same while it is signed get the same answer", async () => {
  const { registry, service, signing, release } = await startedWithSlowSignatures();
  const early = [read(registry, service), read(registry, service), read(registry, service, true)];
  // The one with a nonce has a signature of its own.
  await expect.poll(() => signing.length).toBe(2);
  release();
  const [first, second] = await Promise.all(early);
  expect(second?.answer).toEqual(first?.answer);
  expect((await read(registry, service)).answer).toEqual(first?.answer);
  expect(signing.length).toBe(2);
});

test.each([false, true])("what was not committed is never read (with a nonce: %s)", async (fresh) => {
  let failing = false;
  const { registry, service } = await started({
    failpoint(name) {
      if (failing && name === "suspend-service.before-commit") throw new Error("crash");
    },
  });
  await read(registry, service, fresh);
  failing = true;
  const write = registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  await refused(write, Reason.INTERNAL);
  expect((await read(registry, service, fresh)).status).toBe(ServiceStatus.ACTIVE);
});

test.each([false, true])("no key is told of beyond its grace (with a nonce: %s)", async (fresh) => {
  const { registry, service: old } = await started();
  const service = await rotateTestService(registry, old, { gracePeriodSeconds: 30 });
  for (let left = 30; left > 0; left--) {
    const { keys, expiresIn } = await read(registry, service, fresh);
    expect(keys).toEqual([service.key.keyId, old.key.keyId]);
    expect(expiresIn).toBeLessThanOrEqual(left);
    registry.clock.advance(1);
  }
  expect((await read(registry, service, fresh)).keys).toEqual([service.key.keyId]);
});
