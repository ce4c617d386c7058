import { expect, test } from "vitest";
import { ProvisionServiceSchema } from "../../../gen/omi/agent/v1/agent_pb.ts";
import { EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { KeyStatus } from "../../../gen/omi/registry/v1/app_pb.ts";
import { ServiceBoundSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import {
  BindingAnswerSchema,
  EndorsementSchema,
  KeyPossessionSchema,
  type ServiceBinding,
  ServiceBindingSchema,
  ServiceStatus,
} from "../../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { isRefusal, Reason } from "../../../src/core/refusal.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { openAnswer, statementId } from "../../../src/statement/statement.ts";
import {
  announcementOf,
  type BindingChanges,
  backboneOf,
  bindingOf,
  bindTestService,
  orderOf,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestApp,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { providers, type RunningRegistry, type startRegistry, testDirectory } from "../../support/registry.ts";
import { startFileRegistry } from "../support/file-registry.ts";
import { appIdElsewhere, badKey, keyIdsOf, resolvedService, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { describeSignedRpc, type RefusedCase, type World } from "../support/signed-rpc.ts";
import { altered, changed, type Draft } from "../support/tampering.ts";

interface BindingWorld extends World {
  app: TestApp;
  key: SigningKey;
  /** The developer's proof. */
  order: Statement;
}

const serviceId = "cms-article-77";

/** A binding; the endorsement names the proof, whatever is changed in that. */
function draftOf({ registry, app, key, order }: BindingWorld, changes: BindingChanges = {}): Draft {
  const used = { key, order, ...changes };
  const endorser = changes.endorser ?? providers.article.key;
  return {
    statement: bindingOf(registry.clock, app, used),
    keys: {
      "": used.key,
      developer_proof: app.master,
      endorsement: endorser,
      key_possession: used.key,
    },
    mend: {
      developer_proof(outer) {
        const binding = outer as ServiceBinding;
        const proofId = statementId(present(binding.developerProof));
        binding.endorsement = changed(EndorsementSchema, present(binding.endorsement), endorser, (message) => {
          message.proofId = proofId;
        });
      },
    },
  };
}

/** A binding with something else in it, its nested statements or none of them saying the same. */
function other<Value extends object>(
  path: "" | "developer_proof" | "endorsement" | "key_possession",
  field: string,
  value: Value,
): RefusedCase<BindingWorld> {
  const schemas = {
    "": ServiceBindingSchema,
    developer_proof: ProvisionServiceSchema,
    endorsement: EndorsementSchema,
    key_possession: KeyPossessionSchema,
  };
  return {
    name: `another ${field} in ${path}`,
    reason: Reason.FIELD_MISMATCH,
    field: `${path}.${field}`,
    draft: (world) => altered(draftOf(world), path, schemas[path], (message) => Object.assign(message, value)),
  };
}

/** A key that is taken already. */
function takenKey(name: string, take: (world: BindingWorld) => Promise<SigningKey>): RefusedCase<BindingWorld> {
  return {
    name: `${name} as Service key`,
    reason: Reason.KEY_IN_USE,
    field: "public_key",
    arrange: async (world) => ({ key: await take(world) }),
    draft: (world) => draftOf(world),
  };
}

function bind(registry: RunningRegistry, app: TestApp, changes: BindingChanges = {}) {
  return registry.registry.bindService({ statement: bindingOf(registry.clock, app, changes) });
}

/** An app whose service was suspended, 10 s ago. */
async function suspended({ registry, app, key, order }: BindingWorld): Promise<undefined> {
  await bind(registry, app, { key, order });
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, { app, serviceId, key }) });
  registry.clock.advance(10);
}

describeSignedRpc<BindingWorld>({
  method: RegistryService.method.bindService,
  effect: ServiceBoundSchema,
  private: true,
  async prepare(registry) {
    const app = await registerTestApp(registry);
    return { registry, app, key: testKey(`service ${app.appId}`), order: orderOf(registry.clock, app) };
  },
  draft: (world) => draftOf(world),
  outcome: ({ registry, app, key }) => ({
    answer: {
      service: {
        appId: app.appId,
        serviceId,
        serviceType: "cms-article",
        provider: providers.article.domain,
        status: ServiceStatus.ACTIVE,
        endpointUrl: "http://i77.article.cms.test",
        keys: [{ keyId: key.keyId, publicKey: key.publicKey, status: KeyStatus.ACTIVE, notAfter: 0n }],
        boundAt: BigInt(registry.clock.seconds()),
      },
      context: { appId: app.appId, configEpoch: 0n, operationalServices: [], authKeys: [] },
    },
    event: {
      appId: app.appId,
      serviceId,
      event: EventType.SERVICE_BOUND,
      oldPublicKey: new Uint8Array(),
      newPublicKey: key.publicKey,
    },
  }),
  nested: {
    developer_proof: { faults: { "a stranger's signature": Reason.SIGNER_NOT_AUTHORIZED } },
    endorsement: { faults: { "a stranger's signature": Reason.TARGET_MISMATCH } },
    key_possession: {},
  },
  refusals: [
    {
      name: "an app of another registry",
      reason: Reason.REGISTRY_MISMATCH,
      draft: (world) => draftOf({ ...world, app: { ...world.app, appId: appIdElsewhere } }),
    },
    {
      name: "an app that is not registered",
      reason: Reason.APP_UNKNOWN,
      draft(world) {
        const app = { ...world.app, appId: unknownAppId };
        return draftOf({ ...world, app, order: orderOf(world.registry.clock, app) });
      },
    },
    {
      name: "a proof by another developer",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "developer_proof.header.signer",
      async arrange({ registry, app }) {
        const { master } = await registerTestApp(registry);
        return { order: orderOf(registry.clock, { ...app, master }) };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a proof by the app's own Auth Provider",
      reason: Reason.SIGNER_NOT_AUTHORIZED,
      field: "developer_proof.header.signer",
      draft(world) {
        const order = orderOf(world.registry.clock, world.app, {}, providers.auth.key);
        return draftOf({ ...world, order });
      },
    },
    {
      name: "a provider that the directory does not know",
      reason: Reason.PROVIDER_UNKNOWN,
      draft(world) {
        const order = orderOf(world.registry.clock, world.app, { targetProvider: "nobody.test" });
        return draftOf({ ...world, order }, { endpointUrl: "https://nobody.test" });
      },
    },
    {
      name: "a Provider key that the directory does not know",
      reason: Reason.PROVIDER_UNKNOWN,
      draft(world) {
        const endorser = testKey("made up");
        const order = orderOf(world.registry.clock, world.app, { providerKeyId: endorser.keyId });
        return draftOf({ ...world, order }, { endorser });
      },
    },
    {
      name: "an endorsement by another provider",
      reason: Reason.TARGET_MISMATCH,
      field: "endorsement.header.signer",
      draft: (world) => draftOf(world, { endorser: providers.crm.key }),
    },
    {
      name: "an endorsement by the service itself",
      reason: Reason.TARGET_MISMATCH,
      field: "endorsement.header.signer",
      draft: (world) => draftOf(world, { endorser: world.key }),
    },
    {
      name: "a proof that bound another key",
      reason: Reason.PROOF_USED,
      async arrange({ registry, app, order }) {
        await bind(registry, app, { order, key: testKey(`first ${app.appId}`) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a proof that bound another key to another service",
      reason: Reason.PROOF_USED,
      async arrange({ registry, app, order }) {
        await bind(registry, app, { order, key: testKey(`first ${app.appId}`) });
        return undefined;
      },
      draft: (world) => draftOf(world, { serviceId: "other-1" }),
    },
    {
      name: "a proof that bound the same key to another service",
      reason: Reason.PROOF_USED,
      async arrange({ registry, app, order, key }) {
        await bind(registry, app, { order, key });
        return undefined;
      },
      draft: (world) => draftOf(world, { serviceId: "other-1" }),
    },
    {
      name: "a proof in the second in which it expires",
      reason: Reason.PROOF_EXPIRED,
      async arrange({ registry }) {
        registry.clock.advance(3600);
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the proof of a service that was suspended since",
      reason: Reason.PROOF_SUPERSEDED,
      arrange: suspended,
      draft: (world) => draftOf(world),
    },
    {
      name: "an unused proof that is older than the suspension",
      reason: Reason.PROOF_SUPERSEDED,
      async arrange(world) {
        const { clock } = world.registry;
        const order = orderOf(clock, world.app, { serviceId });
        clock.advance(1);
        await suspended(world);
        return { order, key: testKey(`fresh ${world.app.appId}`) };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a proof of the very second of the suspension",
      reason: Reason.PROOF_SUPERSEDED,
      async arrange(world) {
        const order = orderOf(world.registry.clock, world.app, { serviceId });
        await suspended(world);
        return { order, key: testKey(`fresh ${world.app.appId}`) };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the ID of a service that another key has",
      reason: Reason.SERVICE_ID_TAKEN,
      async arrange({ registry, app }) {
        await bindTestService(registry, app, serviceId);
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the ID of a suspended service, which the proof does not name",
      reason: Reason.SERVICE_ID_TAKEN,
      async arrange(world) {
        await suspended(world);
        return { order: orderOf(world.registry.clock, world.app), key: testKey(`fresh ${world.app.appId}`) };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the ID of another provider's suspended service",
      reason: Reason.SERVICE_ID_TAKEN,
      async arrange(world) {
        await suspended(world);
        const { domain: targetProvider, key } = providers.crm;
        const order = orderOf(world.registry.clock, world.app, {
          targetProvider,
          providerKeyId: key.keyId,
          serviceId,
        });
        return { order, key: testKey(`fresh ${world.app.appId}`) };
      },
      draft: (world) => draftOf(world, { endorser: providers.crm.key, endpointUrl: "http://crm.test" }),
    },
    {
      name: "the service ID of the Auth Provider",
      reason: Reason.SERVICE_ID_RESERVED,
      draft: (world) => draftOf(world, { serviceId: "auth" }),
    },
    {
      name: "the ID of an unbound service",
      reason: Reason.SERVICE_REVOKED,
      async arrange({ registry, app }) {
        const service = await bindTestService(registry, app, serviceId);
        await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
        registry.clock.advance(10);
        return { order: orderOf(registry.clock, app, { serviceId }) };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the proof of a service that was unbound since",
      reason: Reason.SERVICE_REVOKED,
      async arrange({ registry, app, key, order }) {
        await bind(registry, app, { key, order });
        await registry.registry.unbindService({ statement: unbindOf(registry.clock, { app, serviceId, key }) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a key of small order",
      reason: Reason.KEY_INVALID,
      field: "public_key",
      draft: (world) => draftOf(world, { binding: { publicKey: badKey } }),
    },
    takenKey("the Master key", async ({ app }) => app.master),
    takenKey("the registry's key", async ({ registry }) => registry.key),
    takenKey("another service's key", async ({ registry, app }) => {
      const { key } = await bindTestService(registry, app, "other-1");
      return key;
    }),
    takenKey("a key that was replaced", async ({ registry, app }) => {
      const service = await bindTestService(registry, app, "other-1");
      await rotateTestService(registry, service, { immediate: true });
      return service.key;
    }),
    takenKey("the Provider key", async () => providers.article.key),
    takenKey("the Auth key", async ({ registry, app }) => {
      const authKey = testKey(`auth ${app.appId}`);
      await registry.registry.announceAuth({ statement: announcementOf(registry.clock, app, { authKey }) });
      return authKey;
    }),
    {
      name: "the key that a suspension stopped",
      reason: Reason.KEY_IN_USE,
      field: "public_key",
      async arrange(world) {
        await suspended(world);
        return { order: orderOf(world.registry.clock, world.app, { serviceId }) };
      },
      draft: (world) => draftOf(world),
    },
    other("developer_proof", "app_id", { appId: unknownAppId }),
    other("developer_proof", "service_type", { serviceType: "cms-video" }),
    other("developer_proof", "service_id", { serviceId: "other-1" }),
    other("endorsement", "app_id", { appId: unknownAppId }),
    other("endorsement", "service_id", { serviceId: "other-1" }),
    other("endorsement", "public_key", { publicKey: testKey("another").publicKey }),
    other("endorsement", "endpoint_url", { endpointUrl: "http://i78.article.cms.test" }),
    other("endorsement", "proof_id", { proofId: new Uint8Array(32).fill(1) }),
    other("key_possession", "app_id", { appId: unknownAppId }),
    other("key_possession", "service_id", { serviceId: "other-1" }),
    other("key_possession", "role", { role: KeyRole.AUTH }),
    other("key_possession", "public_key", { publicKey: testKey("another").publicKey }),
    other("key_possession", "previous_key_id", { previousKeyId: testKey("another").keyId }),
    {
      name: "a key in it that is not the signer's",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      draft: (world) => draftOf(world, { binding: { publicKey: testKey("another").publicKey } }),
    },
    {
      name: "a proof that is good for more than an hour",
      reason: Reason.FIELD_INVALID,
      field: "developer_proof.expires_at",
      draft(world) {
        const { clock } = world.registry;
        return draftOf({ ...world, order: orderOf(clock, world.app, { expiresAt: BigInt(clock.seconds() + 3601) }) });
      },
    },
    {
      name: "a proof that expires as it is signed",
      reason: Reason.FIELD_INVALID,
      field: "developer_proof.expires_at",
      draft(world) {
        const { clock } = world.registry;
        return draftOf({ ...world, order: orderOf(clock, world.app, { expiresAt: BigInt(clock.seconds()) }) });
      },
    },
    ...["http://cms.test", "http://evilarticle.cms.test", "https://elsewhere.example"].map(
      (endpointUrl): RefusedCase<BindingWorld> => ({
        name: `the endpoint ${endpointUrl}`,
        reason: Reason.ENDPOINT_NOT_ALLOWED,
        field: "endpoint_url",
        draft: (world) => draftOf(world, { endpointUrl }),
      }),
    ),
  ],
});

/** An app in a registry, and what a binding to it takes. */
async function started(options: Parameters<typeof startRegistry>[0] = {}): Promise<BindingWorld> {
  const registry = await startFileRegistry(options);
  const app = await registerTestApp(registry);
  return { registry, app, key: testKey("service"), order: orderOf(registry.clock, app) };
}

test("the answer has what the service needs to configure itself", async () => {
  const { registry, app } = await started();
  const { clock } = registry;
  const authKey = testKey("auth");
  await registry.registry.updateBackbone({ statement: backboneOf(clock, app) });
  const announcement = { expectedConfigEpoch: 1n };
  await registry.registry.announceAuth({ statement: announcementOf(clock, app, { authKey, announcement }) });
  const { answer } = await bind(registry, app);
  expect(openAnswer(BindingAnswerSchema, present(answer)).message.context).toMatchObject({
    configEpoch: 2n,
    operationalServices: [{ name: "bill-1", url: "http://billing.test" }],
    authKeys: [{ keyId: authKey.keyId, status: KeyStatus.ACTIVE }],
    authProvider: providers.auth.domain,
    authProviderUrl: `http://auth.test/apps/${app.appId}`,
  });
});

test("a proof completes the same binding again, also once it has expired, and changes nothing", async () => {
  const { registry, app, key, order } = await started();
  await bind(registry, app, { key, order });
  const before = registry.contents();
  for (const seconds of [0, 3600, 86_400]) {
    registry.clock.advance(seconds);
    const { answer } = await bind(registry, app, { key, order });
    expect(openAnswer(BindingAnswerSchema, present(answer)).message.service).toMatchObject({
      serviceId,
      status: ServiceStatus.ACTIVE,
      keys: [{ keyId: key.keyId }],
    });
  }
  expect(registry.contents()).toEqual(before);
});

test("of two keys that come together with one proof one is bound", async () => {
  const { registry, app, order } = await started();
  const outcomes = await Promise.allSettled(
    ["left", "right"].map((name) => bind(registry, app, { key: testKey(name), order, serviceId: `cms-${name}` })),
  );
  expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  const lost = outcomes.find(({ status }) => status === "rejected") as PromiseRejectedResult;
  expect(isRefusal(lost.reason, Reason.PROOF_USED)).toBe(true);
});

test("a suspended service is restored by a newer proof that names it, with a fresh key", async () => {
  const world = await started();
  const { registry, app } = world;
  await suspended(world);
  const before = await resolvedService(registry, app.appId, serviceId);
  const key = testKey("fresh");
  await bind(registry, app, { key, order: orderOf(registry.clock, app, { serviceId }) });
  const after = await resolvedService(registry, app.appId, serviceId);
  expect(after).toMatchObject({ status: ServiceStatus.ACTIVE, keys: [{ keyId: key.keyId }] });
  expect(after.keys).toHaveLength(1);
  expect(after.boundAt).toBe(before.boundAt);
  // The first key, with the proof that once bound it, gets the record as it is and nothing more.
  await bind(registry, app, { key: world.key, order: world.order });
  expect(await keyIdsOf(registry, { app, serviceId, key })).toEqual([key.keyId]);
});

test("the endpoint may be the provider's domain itself", async () => {
  const { registry, app } = await started();
  await bind(registry, app, { endpointUrl: "http://article.cms.test:8443/v1" });
});

test("no domain is looked up for a proof that the developer did not sign", async () => {
  const asked: string[] = [];
  const directory = testDirectory();
  const { registry, app } = await started({
    directory: {
      lookup(domain) {
        asked.push(domain);
        return directory.lookup(domain);
      },
    },
  });
  const order = orderOf(registry.clock, app, { targetProvider: "victim.test" });
  const forged = { ...order, signature: new Uint8Array(64).fill(7) };
  await refused(bind(registry, app, { order: forged, endpointUrl: "https://victim.test" }), Reason.SIGNATURE_INVALID);
  expect(asked).toEqual([]);
});
