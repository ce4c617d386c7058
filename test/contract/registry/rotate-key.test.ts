import { expect, test } from "vitest";
import { EventReason, EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { KeyStatus } from "../../../gen/omi/registry/v1/app_pb.ts";
import { KeyRotatedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { KeyPossessionSchema, ServiceAnswerSchema, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import {
  announcementOf,
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  rotationOf,
  suspendOf,
  type TestService,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, badKey, keyIdsOf, resolvedService, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { describeSignedRpc, type RefusedCase, type World } from "../support/signed-rpc.ts";
import { altered, type Draft } from "../support/tampering.ts";

interface RotationWorld extends World {
  service: TestService;
  /** The key that shall be next. */
  next: SigningKey;
}

type Fields = Parameters<typeof rotationOf>[3];

function draftOf({ registry, service, next }: RotationWorld, fields: Fields = {}, signer = service.key): Draft {
  return {
    statement: rotationOf(registry.clock, service, next, fields, signer),
    keys: { "": signer, key_possession: next },
  };
}

/** The same for a service with another ID, or in another app. */
function draftFor(world: RotationWorld, appId: string, serviceId = world.service.serviceId): Draft {
  return draftOf({ ...world, service: { ...world.service, serviceId, app: { ...world.service.app, appId } } });
}

async function bound(registry: RunningRegistry): Promise<TestService> {
  return bindTestService(registry, await registerTestApp(registry));
}

/** A key that is taken already, as the next one. */
function takenKey(name: string, take: (world: RotationWorld) => Promise<SigningKey>): RefusedCase<RotationWorld> {
  return {
    name: `${name} as new key`,
    reason: Reason.KEY_IN_USE,
    field: "new_public_key",
    arrange: async (world) => ({ next: await take(world) }),
    draft: (world) => draftOf(world),
  };
}

/** A possession that speaks of something else. */
function otherPossession(
  field: string,
  value: Partial<{ appId: string; serviceId: string; role: KeyRole; publicKey: Uint8Array; previousKeyId: string }>,
  name = field,
): RefusedCase<RotationWorld> {
  return {
    name: `a possession with another ${name}`,
    reason: Reason.FIELD_MISMATCH,
    field: `key_possession.${field}`,
    draft: (world) =>
      altered(draftOf(world), "key_possession", KeyPossessionSchema, (message) => Object.assign(message, value)),
  };
}

describeSignedRpc<RotationWorld>({
  method: RegistryService.method.rotateKey,
  effect: KeyRotatedSchema,
  private: false,
  async prepare(registry) {
    const service = await bound(registry);
    return { registry, service, next: testKey(`next ${service.app.appId}`) };
  },
  draft: (world) => draftOf(world),
  outcome({ registry, service, next }) {
    const expiry = BigInt(registry.clock.seconds() + 300);
    return {
      answer: {
        service: {
          serviceId: service.serviceId,
          status: ServiceStatus.ACTIVE,
          keys: [
            { keyId: next.keyId, publicKey: next.publicKey, status: KeyStatus.ACTIVE, notAfter: 0n },
            { keyId: service.key.keyId, status: KeyStatus.GRACE, notAfter: expiry },
          ],
        },
      },
      event: {
        appId: service.app.appId,
        serviceId: service.serviceId,
        event: EventType.KEY_ROTATION,
        reason: EventReason.UNSPECIFIED,
        oldPublicKey: service.key.publicKey,
        newPublicKey: next.publicKey,
        gracePeriodExpiry: expiry,
      },
    };
  },
  nested: { key_possession: {} },
  refusals: [
    {
      name: "an app of another registry",
      reason: Reason.REGISTRY_MISMATCH,
      draft: (world) => draftFor(world, appIdElsewhere),
    },
    {
      name: "an app that is not registered",
      reason: Reason.APP_UNKNOWN,
      draft: (world) => draftFor(world, unknownAppId),
    },
    {
      name: "a service that was never bound",
      reason: Reason.SERVICE_UNKNOWN,
      draft: (world) => draftFor(world, world.service.app.appId, "other-1"),
    },
    {
      name: "a suspended service",
      reason: Reason.SERVICE_SUSPENDED,
      async arrange({ registry, service }) {
        await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "an unbound service",
      reason: Reason.SERVICE_REVOKED,
      async arrange({ registry, service }) {
        await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the key of another service of the app",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "header.signer",
      async arrange({ registry, service }) {
        const { key } = await bindTestService(registry, service.app, "other-1");
        return { service: { ...service, key } };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the key of a service with the same ID in another app",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "header.signer",
      async arrange({ registry, service }) {
        const { key } = await bound(registry);
        return { service: { ...service, key } };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the developer's Master key",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      draft: (world) => draftOf(world, {}, world.service.app.master),
    },
    {
      name: "a key in grace, though it asks for no grace",
      reason: Reason.KEY_NOT_CURRENT,
      field: "header.signer",
      async arrange({ registry, service }) {
        await rotateTestService(registry, service);
        return undefined;
      },
      draft: (world) => draftOf(world, { immediate: true }),
    },
    {
      name: "a key whose grace is over",
      reason: Reason.KEY_NOT_CURRENT,
      field: "header.signer",
      async arrange({ registry, service }) {
        await rotateTestService(registry, service);
        registry.clock.advance(300);
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a key that an immediate rotation stopped",
      reason: Reason.KEY_NOT_CURRENT,
      field: "header.signer",
      async arrange({ registry, service }) {
        await rotateTestService(registry, service, { immediate: true });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a rotation while the key before is in grace",
      reason: Reason.ROTATION_IN_GRACE,
      async arrange({ registry, service }) {
        return { service: await rotateTestService(registry, service) };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a new key of small order",
      reason: Reason.KEY_INVALID,
      field: "new_public_key",
      draft: (world) => draftOf(world, { newPublicKey: badKey }),
    },
    takenKey("the current key", async ({ service }) => service.key),
    takenKey("another service's key", async ({ registry, service }) => {
      const other = await bindTestService(registry, service.app, "other-1");
      return other.key;
    }),
    takenKey("a key that was revoked elsewhere", async ({ registry }) => {
      const other = await bound(registry);
      await registry.registry.unbindService({ statement: unbindOf(registry.clock, other) });
      return other.key;
    }),
    takenKey("the Master key", async ({ service }) => service.app.master),
    takenKey("the registry's key", async ({ registry }) => registry.key),
    otherPossession("app_id", { appId: unknownAppId }),
    otherPossession("service_id", { serviceId: "other-1" }),
    otherPossession("role", { role: KeyRole.AUTH }),
    otherPossession("public_key", { publicKey: testKey("another").publicKey }),
    otherPossession("previous_key_id", { previousKeyId: testKey("another").keyId }),
    otherPossession("previous_key_id", { previousKeyId: "" }, "previous_key_id, that is none"),
    {
      name: "another context",
      reason: Reason.FIELD_INVALID,
      field: "context",
      draft: (world) => draftOf(world, { context: "decommission" }),
    },
    {
      name: "a grace period of more than a year",
      reason: Reason.FIELD_INVALID,
      field: "grace_period_seconds",
      draft: (world) => draftOf(world, { gracePeriodSeconds: 31_536_001 }),
    },
  ],
});

test("the old key counts until its grace ends, and not in that second", async () => {
  const registry = await startRegistry();
  const old = await bound(registry);
  const service = await rotateTestService(registry, old, { gracePeriodSeconds: 60 });
  registry.clock.advance(59);
  expect(await keyIdsOf(registry, service)).toEqual([service.key.keyId, old.key.keyId]);
  registry.clock.advance(1);
  expect(await keyIdsOf(registry, service)).toEqual([service.key.keyId]);
});

test("no answer may be kept beyond the end of a grace period that it tells of", async () => {
  const registry = await startRegistry();
  const service = await rotateTestService(registry, await bound(registry), { gracePeriodSeconds: 20 });
  const { answer } = await registry.resolver.resolveService({ appId: service.app.appId, serviceId: service.serviceId });
  const { header, message } = openAnswer(ServiceAnswerSchema, present(answer));
  expect(message.service?.keys[1]?.notAfter).toBe(header.issuedAt + 20n);
  expect(header.expiresAt).toBe(header.issuedAt + 20n);
});

test.each([
  ["raised to the least", 1, 120n],
  ["cut to the greatest", 31_536_000, 3600n],
  ["the default", 0, 600n],
  ["what was asked for", 1800, 1800n],
])("a grace period is %s", async (_, gracePeriodSeconds, expected) => {
  const registry = await startRegistry({
    policy: { minGracePeriodSeconds: 120, maxGracePeriodSeconds: 3600, defaultGracePeriodSeconds: 600 },
  });
  const old = await bound(registry);
  const service = await rotateTestService(registry, old, { gracePeriodSeconds });
  const { keys } = await resolvedService(registry, service.app.appId, service.serviceId);
  expect(keys[1]?.notAfter).toBe(BigInt(registry.clock.seconds()) + expected);
});

test("an immediate rotation ends all grace, that of the key before too", async () => {
  const registry = await startRegistry();
  const second = await rotateTestService(registry, await bound(registry));
  const third = await rotateTestService(registry, second, { immediate: true, gracePeriodSeconds: 600 });
  expect(await keyIdsOf(registry, third)).toEqual([third.key.keyId]);
});

test("once the grace is over, the key may be rotated again", async () => {
  const registry = await startRegistry();
  const first = await bound(registry);
  const second = await rotateTestService(registry, first);
  registry.clock.advance(300);
  const third = await rotateTestService(registry, second);
  expect(await keyIdsOf(registry, third)).toEqual([third.key.keyId, second.key.keyId]);
});

test("of two rotations by the same key one wins", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const service = await bound(registry);
  const attempts = [testKey("left"), testKey("right")].map((key) => ({
    key,
    answer: registry.registry.rotateKey({ statement: rotationOf(clock, service, key, { immediate: true }) }),
  }));
  // Signatures are checked on a thread pool, so either of the two may come first.
  const ends = await Promise.allSettled(attempts.map(({ answer }) => answer));
  const winners = attempts.filter((_, index) => ends[index]?.status === "fulfilled");
  expect(winners).toHaveLength(1);
  const loser = present(attempts.find((attempt) => !winners.includes(attempt)));
  await refused(loser.answer, Reason.KEY_NOT_CURRENT);
  expect(await keyIdsOf(registry, service)).toEqual([winners[0]?.key.keyId]);
});

test("the Service key of `auth` rotates like any other, and the Auth key stays", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const [authKey, key] = [testKey("auth"), testKey("auth service")];
  await registry.registry.announceAuth({
    statement: announcementOf(registry.clock, app, { authKey, serviceKey: key }),
  });
  const auth = await rotateTestService(registry, { app, serviceId: "auth", key });
  expect(await keyIdsOf(registry, auth)).toEqual([auth.key.keyId, key.keyId]);
  await refused(
    registry.registry.rotateKey({
      statement: rotationOf(registry.clock, auth, testKey("other"), { immediate: true }, authKey),
    }),
    Reason.SIGNER_UNKNOWN,
  );
});
