import { expect, test } from "vitest";
import { EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { AppRegisteredSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { type SigningKey, sha256 } from "../../../src/statement/crypto.ts";
import { claimOf, contactOf, manifestOf } from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { resolvedApp } from "../support/records.ts";
import { describeSignedRpc, type World } from "../support/signed-rpc.ts";
import type { Draft } from "../support/tampering.ts";

interface AppWorld extends World {
  namespace: string;
  master: SigningKey;
}

type Fields = Parameters<typeof manifestOf>[3];

let namespaces = 0;

async function claimed(registry: RunningRegistry): Promise<{ namespace: string; master: SigningKey }> {
  const namespace = `alice-${++namespaces}`;
  const master = testKey(`master ${namespace}`);
  const { claim, beside } = contactOf("alice@example.com");
  await registry.registry.claimNamespace({
    statement: claimOf(registry.clock, namespace, master, claim),
    ...beside,
  });
  return { namespace, master };
}

function draftOf({ registry, namespace, master }: AppWorld, fields: Fields = {}): Draft {
  return { statement: manifestOf(registry.clock, namespace, master, fields), keys: { "": master } };
}

/** The AppID that a manifest of the app `shop` leads to. */
function appIdOf({ namespace }: AppWorld, { statement }: Draft): string {
  return `test.omi-registry.${namespace}.shop.${toHex(sha256(statement.data)).slice(0, 6)}`;
}

describeSignedRpc<AppWorld>({
  method: RegistryService.method.registerApp,
  effect: AppRegisteredSchema,
  private: false,
  async prepare(registry) {
    return { registry, ...(await claimed(registry)) };
  },
  draft: (world) => draftOf(world),
  outcome: (world, draft) => ({
    answer: {
      app: {
        appId: appIdOf(world, draft),
        ownerNamespace: world.namespace,
        projectSlug: "shop",
        displayName: "Shop",
        masterPublicKey: world.master.publicKey,
        masterKeyId: world.master.keyId,
        registeredAt: BigInt(world.registry.clock.seconds()),
        context: { configEpoch: 0n, operationalServices: [], authKeys: [], authProvider: "" },
      },
    },
    event: { appId: appIdOf(world, draft), event: EventType.APP_REGISTERED, sequence: 1n, configEpoch: 0n },
  }),
  refusals: [
    {
      name: "a namespace that nobody has claimed",
      reason: Reason.NAMESPACE_UNKNOWN,
      draft: (world) => draftOf(world, { ownerNamespace: "nobody" }),
    },
    {
      name: "a namespace that waits for its code",
      reason: Reason.NAMESPACE_PENDING,
      options: { policy: { activationPolicy: ActivationPolicy.CODE } },
      draft: (world) => draftOf(world),
    },
    {
      name: "another developer's namespace",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "header.signer",
      async arrange({ registry }) {
        const { namespace } = await claimed(registry);
        return { namespace };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a slug that the namespace has",
      reason: Reason.APP_EXISTS,
      async arrange({ registry, namespace, master }) {
        await registry.registry.registerApp({ statement: manifestOf(registry.clock, namespace, master) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a slug that differs only in - and _",
      reason: Reason.APP_EXISTS,
      async arrange({ registry, namespace, master }) {
        const statement = manifestOf(registry.clock, namespace, master, { projectSlug: "web-shop_2" });
        await registry.registry.registerApp({ statement });
        return undefined;
      },
      draft: (world) => draftOf(world, { projectSlug: "web_shop-2" }),
    },
    {
      name: "a reserved slug",
      reason: Reason.NAME_RESERVED,
      field: "project_slug",
      draft: (world) => draftOf(world, { projectSlug: "registry" }),
    },
    {
      name: "a description that is too long",
      reason: Reason.FIELD_INVALID,
      field: "description",
      draft: (world) => draftOf(world, { description: "a".repeat(2049) }),
    },
  ],
});

test("two developers may have apps with the same slug", async () => {
  const registry = await startRegistry();
  const developers = [await claimed(registry), await claimed(registry)];
  for (const { namespace, master } of developers) {
    const statement = manifestOf(registry.clock, namespace, master);
    await registry.registry.registerApp({ statement });
    const app = await resolvedApp(registry, appIdOf({ namespace } as AppWorld, { statement } as Draft));
    expect(app).toMatchObject({ ownerNamespace: namespace, masterKeyId: master.keyId });
  }
});
