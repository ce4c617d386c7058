import { expect, test } from "vitest";
import { EventReason, EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { ServiceSuspendedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import {
  announcementOf,
  bindTestService,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestService,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, keyIdsOf, resolvedApp, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { describeSignedRpc, type World } from "../support/signed-rpc.ts";
import type { Draft } from "../support/tampering.ts";

interface SuspendWorld extends World {
  service: TestService;
}

function draftOf({ registry, service }: SuspendWorld, signer = service.app.master): Draft {
  return { statement: suspendOf(registry.clock, service, signer), keys: { "": signer } };
}

/** The same for a service of another app ID, which the app's own Master key signs. */
function draftFor(world: SuspendWorld, appId: string): Draft {
  return draftOf({ ...world, service: { ...world.service, app: { ...world.service.app, appId } } });
}

describeSignedRpc<SuspendWorld>({
  method: RegistryService.method.suspendService,
  effect: ServiceSuspendedSchema,
  private: false,
  async prepare(registry) {
    return { registry, service: await bindTestService(registry, await registerTestApp(registry)) };
  },
  draft: draftOf,
  outcome: ({ service }) => ({
    answer: { service: { serviceId: service.serviceId, status: ServiceStatus.SUSPENDED, keys: [] } },
    event: {
      appId: service.app.appId,
      serviceId: service.serviceId,
      event: EventType.KEY_ROTATION,
      reason: EventReason.MASTER_RESET,
      oldPublicKey: service.key.publicKey,
      newPublicKey: new Uint8Array(),
      gracePeriodExpiry: 0n,
    },
  }),
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
      draft: (world) => draftOf({ ...world, service: { ...world.service, serviceId: "other-1" } }),
    },
    {
      name: "a suspended service",
      reason: Reason.SERVICE_SUSPENDED,
      async arrange({ registry, service }) {
        await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
        return undefined;
      },
      draft: draftOf,
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
      name: "the service's own key",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      draft: (world) => draftOf(world, world.service.key),
    },
  ],
});

test("a suspension stops the key in grace too", async () => {
  const registry = await startRegistry();
  const bound = await bindTestService(registry, await registerTestApp(registry));
  const service = await rotateTestService(registry, bound);
  expect(await keyIdsOf(registry, service)).toEqual([service.key.keyId, bound.key.keyId]);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  expect(await keyIdsOf(registry, service)).toEqual([]);
});

test("a suspension of `auth` leaves the app without Auth keys, in a new epoch", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const app = await registerTestApp(registry);
  const key = testKey("auth service");
  await registry.registry.announceAuth({ statement: announcementOf(clock, app, { serviceKey: key }) });
  const auth = { app, serviceId: "auth", key };
  const before = await resolvedApp(registry, app.appId);
  expect(before.context?.authKeys).toHaveLength(1);

  await registry.registry.suspendService({ statement: suspendOf(clock, auth) });
  const { context } = await resolvedApp(registry, app.appId);
  expect(context).toMatchObject({ authKeys: [], authProvider: "", authProviderUrl: "" });
  expect(context?.configEpoch).toBe((before.context?.configEpoch ?? 0n) + 1n);

  // An announcement that was signed before, and kept back, builds on the epoch before.
  const kept = announcementOf(clock, app, {
    authKey: testKey("auth 2"),
    serviceKey: testKey("auth service 2"),
    announcement: { expectedConfigEpoch: before.context?.configEpoch ?? 0n },
  });
  await refused(registry.registry.announceAuth({ statement: kept }), Reason.EPOCH_MISMATCH);
});
