import { expect, test } from "vitest";
import { EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { BackboneChangedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { backboneOf, registerTestApp, type TestApp } from "../../support/developer.ts";
import { startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, resolvedApp, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { describeSignedRpc, type World } from "../support/signed-rpc.ts";
import type { Draft } from "../support/tampering.ts";

interface BackboneWorld extends World {
  app: TestApp;
}

type Fields = Parameters<typeof backboneOf>[2];

function draftOf({ registry, app }: BackboneWorld, fields: Fields = {}): Draft {
  return { statement: backboneOf(registry.clock, app, fields), keys: { "": app.master } };
}

const billing = { role: OperationalRole.BILLING, name: "bill-1", url: "https://billing.test" };

describeSignedRpc<BackboneWorld>({
  method: RegistryService.method.updateBackbone,
  effect: BackboneChangedSchema,
  private: false,
  async prepare(registry) {
    return { registry, app: await registerTestApp(registry) };
  },
  draft: (world) => draftOf(world),
  outcome: ({ app }) => ({
    answer: {
      app: {
        appId: app.appId,
        masterKeyId: app.master.keyId,
        context: { configEpoch: 1n, operationalServices: [{ role: OperationalRole.BILLING, name: "bill-1" }] },
      },
    },
    event: { appId: app.appId, serviceId: "", event: EventType.BACKBONE_UPDATE, configEpoch: 1n },
  }),
  refusals: [
    {
      name: "an app of another registry",
      reason: Reason.REGISTRY_MISMATCH,
      draft: (world) => draftOf(world, { appId: appIdElsewhere }),
    },
    {
      name: "an app that is not registered",
      reason: Reason.APP_UNKNOWN,
      draft: (world) => draftOf(world, { appId: unknownAppId }),
    },
    {
      name: "another developer's Master key",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "header.signer",
      async arrange({ registry, app }) {
        const { master } = await registerTestApp(registry);
        return { app: { ...app, master } };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "an epoch that is past",
      reason: Reason.EPOCH_MISMATCH,
      async arrange({ registry, app }) {
        await registry.registry.updateBackbone({ statement: backboneOf(registry.clock, app) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "an epoch that is still to come",
      reason: Reason.EPOCH_MISMATCH,
      draft: (world) => draftOf(world, { expectedConfigEpoch: 1n }),
    },
    {
      name: "the greatest of all epochs",
      reason: Reason.EPOCH_MISMATCH,
      draft: (world) => draftOf(world, { expectedConfigEpoch: 2n ** 64n - 1n }),
    },
    {
      name: "the same role and name twice",
      reason: Reason.FIELD_INVALID,
      field: "operational_services",
      draft: (world) => draftOf(world, { operationalServices: [billing, { ...billing, url: "https://other.test" }] }),
    },
    {
      name: "plain http for a host that is not allowed to",
      reason: Reason.FIELD_INVALID,
      field: "operational_services[0].url",
      draft: (world) => draftOf(world, { operationalServices: [{ ...billing, url: "http://billing.example" }] }),
    },
  ],
});

test("each update counts the epoch up, and an empty one clears the backbone", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const update = (fields: Fields) =>
    registry.registry.updateBackbone({ statement: backboneOf(registry.clock, app, fields) });
  const audit = { ...billing, role: OperationalRole.AUDIT };
  await update({ operationalServices: [billing, audit] });
  expect((await resolvedApp(registry, app.appId)).context).toMatchObject({
    configEpoch: 1n,
    operationalServices: [billing, audit],
  });
  await update({ operationalServices: [], expectedConfigEpoch: 1n });
  expect((await resolvedApp(registry, app.appId)).context).toMatchObject({
    configEpoch: 2n,
    operationalServices: [],
  });
});

test("of two updates that build on the same epoch one is refused", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const outcomes = await Promise.allSettled(
    [1, 2].map(() => registry.registry.updateBackbone({ statement: backboneOf(registry.clock, app) })),
  );
  // Which one comes first is for the thread pool to say, which verifies both.
  const [failure, ...more] = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  const refusal = await refused(Promise.reject(failure), Reason.EPOCH_MISMATCH);
  expect(refusal.metadata).toEqual({ config_epoch: "1" });
  expect(more).toEqual([]);
});
