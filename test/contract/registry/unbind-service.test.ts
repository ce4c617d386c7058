import { expect, test } from "vitest";
import { TerminationReceiptSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { ServiceUnboundSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { ServiceStatus, UnbindSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import {
  announcementOf,
  bindingOf,
  bindTestService,
  orderOf,
  receiptOf,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestService,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, resolvedApp, resolvedService, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { describeSignedRpc, type RefusedCase, type World } from "../support/signed-rpc.ts";
import { altered, type Draft } from "../support/tampering.ts";

interface UnbindWorld extends World {
  service: TestService;
  /** Signs the receipt. */
  receiptKey: TestService["key"];
}

function draftOf({ registry: { clock }, service, receiptKey }: UnbindWorld): Draft {
  const receipt = receiptOf(clock, service, {}, receiptKey);
  return {
    statement: unbindOf(clock, service, receipt),
    keys: { "": service.app.master, provider_receipt: receiptKey },
  };
}

function withoutReceipt(world: UnbindWorld, changes: Partial<TestService> = {}): Draft {
  const { service } = world;
  return {
    statement: unbindOf(world.registry.clock, { ...service, ...changes }),
    keys: { "": service.app.master },
  };
}

/** A receipt by a key that is not the service's active one. */
function receiptBy(
  name: string,
  arrange: NonNullable<RefusedCase<UnbindWorld>["arrange"]>,
  reason: Reason = Reason.KEY_NOT_CURRENT,
): RefusedCase<UnbindWorld> {
  return { name: `a receipt by ${name}`, reason, field: "provider_receipt.header.signer", arrange, draft: draftOf };
}

/** A receipt that speaks of something else. */
function otherReceipt(field: string, value: { appId: string } | { serviceId: string }): RefusedCase<UnbindWorld> {
  return {
    name: `a receipt with another ${field}`,
    reason: Reason.FIELD_MISMATCH,
    field: `provider_receipt.${field}`,
    draft: (world) =>
      altered(draftOf(world), "provider_receipt", TerminationReceiptSchema, (message) => Object.assign(message, value)),
  };
}

describeSignedRpc<UnbindWorld>({
  method: RegistryService.method.unbindService,
  effect: ServiceUnboundSchema,
  private: true,
  async prepare(registry) {
    const service = await bindTestService(registry, await registerTestApp(registry));
    return { registry, service, receiptKey: service.key };
  },
  draft: draftOf,
  outcome: ({ service }) => ({
    answer: {
      service: { serviceId: service.serviceId, status: ServiceStatus.REVOKED, keys: [], endpointUrl: "" },
    },
    event: {
      appId: service.app.appId,
      serviceId: service.serviceId,
      event: EventType.PURGE,
      oldPublicKey: service.key.publicKey,
      newPublicKey: new Uint8Array(),
    },
  }),
  nested: { provider_receipt: { optional: true } },
  refusals: [
    {
      name: "an app of another registry",
      reason: Reason.REGISTRY_MISMATCH,
      draft: (world) => withoutReceipt(world, { app: { ...world.service.app, appId: appIdElsewhere } }),
    },
    {
      name: "an app that is not registered",
      reason: Reason.APP_UNKNOWN,
      draft: (world) => withoutReceipt(world, { app: { ...world.service.app, appId: unknownAppId } }),
    },
    {
      name: "a service that was never bound",
      reason: Reason.SERVICE_UNKNOWN,
      draft: (world) => withoutReceipt(world, { serviceId: "other-1" }),
    },
    {
      name: "an unbound service",
      reason: Reason.SERVICE_REVOKED,
      async arrange({ registry, service }) {
        await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
        return undefined;
      },
      draft: draftOf,
    },
    {
      name: "another developer's Master key",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "header.signer",
      async arrange({ registry, service }) {
        const { master } = await registerTestApp(registry);
        return { service: { ...service, app: { ...service.app, master } } };
      },
      draft: draftOf,
    },
    {
      name: "another context",
      reason: Reason.FIELD_INVALID,
      field: "context",
      draft: (world) =>
        altered(draftOf(world), "", UnbindSchema, (message) => {
          message.context = "key_rotation";
        }),
    },
    {
      name: "a receipt of no success",
      reason: Reason.FIELD_INVALID,
      field: "provider_receipt.status",
      draft: (world) =>
        altered(draftOf(world), "provider_receipt", TerminationReceiptSchema, (message) => {
          message.status = 0;
        }),
    },
    otherReceipt("app_id", { appId: unknownAppId }),
    otherReceipt("service_id", { serviceId: "other-1" }),
    receiptBy("a key in grace", async ({ registry, service }) => {
      await rotateTestService(registry, service);
      return undefined;
    }),
    receiptBy("a key whose grace is over", async ({ registry, service }) => {
      await rotateTestService(registry, service);
      registry.clock.advance(300);
      return undefined;
    }),
    receiptBy("a suspended service", async ({ registry, service }) => {
      await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
      return undefined;
    }),
    receiptBy(
      "another service of the app",
      async ({ registry, service }) => {
        const { key } = await bindTestService(registry, service.app, "other-1");
        return { receiptKey: key };
      },
      Reason.SIGNER_NOT_AUTHORIZED,
    ),
    receiptBy("the developer", async ({ service }) => ({ receiptKey: service.app.master }), Reason.SIGNER_UNKNOWN),
  ],
});

async function boundService() {
  const registry = await startRegistry();
  return { registry, service: await bindTestService(registry, await registerTestApp(registry)) };
}

test("a provider that gives no receipt cannot stay", async () => {
  const { registry, service } = await boundService();
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
  const { status } = await resolvedService(registry, service.app.appId, service.serviceId);
  expect(status).toBe(ServiceStatus.REVOKED);
});

test("a receipt does not grow too old", async () => {
  const { registry, service } = await boundService();
  const receipt = receiptOf(registry.clock, service);
  registry.clock.advance(90 * 86_400);
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service, receipt) });
});

test("a suspended service is unbound without its key", async () => {
  const { registry, service } = await boundService();
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
  const { status } = await resolvedService(registry, service.app.appId, service.serviceId);
  expect(status).toBe(ServiceStatus.REVOKED);
});

test("the ID of an unbound service is never bound again, nor is its key", async () => {
  const { registry, service } = await boundService();
  const { clock } = registry;
  const { app, serviceId, key } = service;
  await registry.registry.unbindService({ statement: unbindOf(clock, service) });
  clock.advance(10);
  const bind = (changes: Parameters<typeof bindingOf>[2]) =>
    registry.registry.bindService({ statement: bindingOf(clock, app, changes) });
  const order = orderOf(clock, app, { serviceId });
  await refused(bind({ serviceId, key: testKey("fresh"), order }), Reason.SERVICE_REVOKED);
  await refused(bind({ serviceId: "other-1", key }), Reason.KEY_IN_USE);
});

test("the end of `auth` leaves the app without Auth keys, in a new epoch, until another is announced", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const app = await registerTestApp(registry);
  const auth = { app, serviceId: "auth", key: testKey("auth service") };
  await registry.registry.announceAuth({ statement: announcementOf(clock, app, { serviceKey: auth.key }) });
  await registry.registry.unbindService({ statement: unbindOf(clock, auth, receiptOf(clock, auth)) });
  const { context } = await resolvedApp(registry, app.appId);
  expect(context).toMatchObject({ configEpoch: 2n, authKeys: [], authProvider: "", authProviderUrl: "" });

  const authKey = testKey("auth 2");
  const again = announcementOf(clock, app, {
    authKey,
    serviceKey: testKey("auth service 2"),
    announcement: { expectedConfigEpoch: 2n },
  });
  await registry.registry.announceAuth({ statement: again });
  expect((await resolvedApp(registry, app.appId)).context?.authKeys.map((key) => key.keyId)).toEqual([authKey.keyId]);
});
