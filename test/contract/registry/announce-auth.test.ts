import { expect, test } from "vitest";
import { AuthProvisionedSchema } from "../../../gen/omi/auth/v1/auth_pb.ts";
import { EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { AppAnswerSchema, AuthAnnouncementSchema, KeyStatus } from "../../../gen/omi/registry/v1/app_pb.ts";
import { AuthAnnouncedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { KeyPossessionSchema, ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import type { SigningKey } from "../../../src/statement/crypto.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import {
  type AnnouncementChanges,
  announcementOf,
  bindTestService,
  present,
  registerTestApp,
  suspendOf,
  type TestApp,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { providers, type RunningRegistry, startRegistry, testDirectory } from "../../support/registry.ts";
import { appIdElsewhere, badKey, keyIdsOf, resolvedApp, resolvedService, unknownAppId } from "../support/records.ts";
import { describeSignedRpc, type RefusedCase, type World } from "../support/signed-rpc.ts";
import { altered, type Draft } from "../support/tampering.ts";

interface AuthWorld extends World {
  app: TestApp;
  authKey: SigningKey;
  serviceKey: SigningKey;
}

function draftOf({ registry, app, authKey, serviceKey }: AuthWorld, changes: AnnouncementChanges = {}): Draft {
  return {
    statement: announcementOf(registry.clock, app, { authKey, serviceKey, ...changes }),
    keys: {
      "": changes.signer ?? app.master,
      provider_answer: changes.answerer ?? providers.auth.key,
      "provider_answer.auth_key_possession": authKey,
      "provider_answer.service_key_possession": serviceKey,
    },
  };
}

/** An announcement, or its nested statements, with something else in it, and nothing beside it that says the same. */
function other(
  path: "provider_answer" | "provider_answer.auth_key_possession" | "provider_answer.service_key_possession",
  field: string,
  value: object,
): RefusedCase<AuthWorld> {
  const schema = path === "provider_answer" ? AuthProvisionedSchema : KeyPossessionSchema;
  return {
    name: `another ${field} in ${path}`,
    reason: Reason.FIELD_MISMATCH,
    field: `${path}.${field}`,
    draft: (world) => altered(draftOf(world), path, schema, (message) => Object.assign(message, value)),
  };
}

/** A key that is taken already. */
function takenKey(
  which: "auth_public_key" | "service_public_key",
  name: string,
  take: (world: AuthWorld) => Promise<SigningKey>,
): RefusedCase<AuthWorld> {
  return {
    name: `${name} as ${which}`,
    reason: Reason.KEY_IN_USE,
    field: which,
    async arrange(world) {
      const key = await take(world);
      return which === "auth_public_key" ? { authKey: key } : { serviceKey: key };
    },
    draft: (world) => draftOf(world),
  };
}

const another = testKey("another").publicKey;

describeSignedRpc<AuthWorld>({
  method: RegistryService.method.announceAuth,
  effect: AuthAnnouncedSchema,
  private: true,
  async prepare(registry) {
    const app = await registerTestApp(registry);
    return { registry, app, authKey: testKey(`auth ${app.appId}`), serviceKey: testKey(`service ${app.appId}`) };
  },
  draft: (world) => draftOf(world),
  outcome: ({ app, authKey }) => ({
    answer: {
      app: {
        appId: app.appId,
        context: {
          configEpoch: 1n,
          authKeys: [{ keyId: authKey.keyId, publicKey: authKey.publicKey, status: KeyStatus.ACTIVE, notAfter: 0n }],
          authProvider: providers.auth.domain,
          authProviderUrl: `http://auth.test/apps/${app.appId}`,
        },
      },
    },
    event: {
      appId: app.appId,
      serviceId: "auth",
      event: EventType.AUTH_CHANGED,
      oldPublicKey: new Uint8Array(),
      newPublicKey: authKey.publicKey,
      gracePeriodExpiry: 0n,
      configEpoch: 1n,
    },
  }),
  nested: {
    provider_answer: {
      faults: {
        "a message written twice over": "accepted",
        "a field of no meaning": "accepted",
        "a field of no meaning in its header": "accepted",
        "a stranger's signature": Reason.PROVIDER_UNKNOWN,
      },
    },
    "provider_answer.auth_key_possession": {},
    "provider_answer.service_key_possession": {},
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
      draft: (world) => draftOf({ ...world, app: { ...world.app, appId: unknownAppId } }),
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
      name: "the provider's signature in place of the developer's",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      draft: (world) => draftOf(world, { signer: providers.auth.key }),
    },
    {
      name: "an epoch that is past",
      reason: Reason.EPOCH_MISMATCH,
      async arrange(world) {
        await announce(world.registry, world.app, { authKey: testKey(`first ${world.app.appId}`) });
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a provider that the directory does not know",
      reason: Reason.PROVIDER_UNKNOWN,
      draft(world) {
        const authProviderUrl = "https://nobody.test/apps";
        return draftOf(world, {
          answer: { authProviderUrl },
          announcement: { authProviderUrl, authProvider: "nobody.test" },
        });
      },
    },
    {
      name: "an answer by another provider",
      reason: Reason.PROVIDER_UNKNOWN,
      draft: (world) => draftOf(world, { answerer: providers.crm.key }),
    },
    {
      name: "an Auth key of small order",
      reason: Reason.KEY_INVALID,
      field: "auth_public_key",
      draft: (world) =>
        altered(draftOf(world), "", AuthAnnouncementSchema, (message) => {
          message.authPublicKey = badKey;
        }),
    },
    {
      name: "a Service key of small order in the provider's answer",
      reason: Reason.KEY_INVALID,
      field: "provider_answer.service_public_key",
      draft: (world) => draftOf(world, { answer: { servicePublicKey: badKey } }),
    },
    {
      name: "one key for both roles",
      reason: Reason.KEY_IN_USE,
      field: "service_public_key",
      draft: (world) => draftOf({ ...world, serviceKey: world.authKey }),
    },
    takenKey("auth_public_key", "the Master key", async ({ app }) => app.master),
    takenKey("auth_public_key", "the Provider key", async () => providers.auth.key),
    takenKey("service_public_key", "the Provider key", async () => providers.auth.key),
    takenKey("service_public_key", "the registry's key", async ({ registry }) => registry.key),
    takenKey("auth_public_key", "a service's key", async ({ registry, app }) => {
      const { key } = await bindTestService(registry, app);
      return key;
    }),
    takenKey("service_public_key", "another app's Auth key", async ({ registry }) => {
      const authKey = testKey("elsewhere");
      await announce(registry, await registerTestApp(registry), { authKey });
      return authKey;
    }),
    other("provider_answer", "app_id", { appId: unknownAppId }),
    other("provider_answer", "auth_public_key", { authPublicKey: another }),
    other("provider_answer", "service_public_key", { servicePublicKey: another }),
    other("provider_answer", "auth_provider_url", { authProviderUrl: "http://auth.test/other" }),
    ...(["provider_answer.auth_key_possession", "provider_answer.service_key_possession"] as const).flatMap((path) => [
      other(path, "app_id", { appId: unknownAppId }),
      other(path, "service_id", { serviceId: "cms-article-77" }),
      other(path, "role", { role: path.includes("auth_key") ? KeyRole.SERVICE : KeyRole.AUTH }),
      other(path, "public_key", { publicKey: another }),
      other(path, "previous_key_id", { previousKeyId: testKey("another").keyId }),
    ]),
    {
      name: "a URL outside of the provider's domain",
      reason: Reason.ENDPOINT_NOT_ALLOWED,
      field: "auth_provider_url",
      draft(world) {
        const authProviderUrl = "https://evilauth.test/apps";
        return draftOf(world, { answer: { authProviderUrl }, announcement: { authProviderUrl } });
      },
    },
    {
      name: "more than a day for the previous Auth key",
      reason: Reason.FIELD_INVALID,
      field: "keep_previous_auth_key_seconds",
      draft: (world) => draftOf(world, { announcement: { keepPreviousAuthKeySeconds: 86_401 } }),
    },
  ],
});

let keys = 0;

/** Announces with new keys, unless `changes` name some, on the app's current epoch. */
async function announce(registry: RunningRegistry, app: TestApp, changes: AnnouncementChanges = {}) {
  const { context } = await resolvedApp(registry, app.appId);
  const authKey = changes.authKey ?? testKey(`announced auth ${++keys}`);
  const serviceKey = changes.serviceKey ?? testKey(`announced service ${keys++}`);
  const statement = announcementOf(registry.clock, app, {
    ...changes,
    authKey,
    serviceKey,
    announcement: { expectedConfigEpoch: context?.configEpoch ?? 0n, ...changes.announcement },
  });
  const { answer } = await registry.registry.announceAuth({ statement });
  return { authKey, serviceKey, answer: openAnswer(AppAnswerSchema, present(answer)) };
}

/** The IDs of the app's Auth keys, with the seconds for which those in grace still count. */
async function authKeysOf(registry: RunningRegistry, app: TestApp): Promise<(string | number)[]> {
  const { context } = await resolvedApp(registry, app.appId);
  return (context?.authKeys ?? []).flatMap((key) =>
    key.status === KeyStatus.ACTIVE ? [key.keyId] : [key.keyId, Number(key.notAfter) - registry.clock.seconds()],
  );
}

/** What makes an announcement one of the provider `other-auth.test`. */
const otherProvider = { domain: "other-auth.test", key: testKey("provider other-auth.test") };
const byOther = (announcement: AnnouncementChanges["announcement"] = {}): AnnouncementChanges => ({
  answerer: otherProvider.key,
  answer: { authProviderUrl: "http://other-auth.test" },
  announcement: { authProvider: otherProvider.domain, authProviderUrl: "http://other-auth.test", ...announcement },
});

async function started() {
  const directory = testDirectory({ [otherProvider.domain]: otherProvider.key });
  const registry = await startRegistry({ directory });
  return { registry, app: await registerTestApp(registry) };
}

test("the provider's Service key becomes the record `auth`, served where the directory says", async () => {
  const { registry, app } = await started();
  const { serviceKey } = await announce(registry, app);
  expect(await resolvedService(registry, app.appId, "auth")).toMatchObject({
    serviceId: "auth",
    provider: providers.auth.domain,
    endpointUrl: "http://auth.test",
    status: ServiceStatus.ACTIVE,
    keys: [{ keyId: serviceKey.keyId }],
  });
});

test("within one provider the old Auth key counts for the longest life of a token, the old Service key no more", async () => {
  const { registry, app } = await started();
  const first = await announce(registry, app);
  const second = await announce(registry, app);
  expect(await authKeysOf(registry, app)).toEqual([second.authKey.keyId, first.authKey.keyId, 900]);
  expect(second.answer.header.expiresAt).toBe(second.answer.header.issuedAt + 60n);
  const auth = { app, serviceId: "auth", key: second.serviceKey };
  expect(await keyIdsOf(registry, auth)).toEqual([second.serviceKey.keyId]);
  registry.clock.advance(899);
  expect(await authKeysOf(registry, app)).toEqual([second.authKey.keyId, first.authKey.keyId, 1]);
  registry.clock.advance(1);
  expect(await authKeysOf(registry, app)).toEqual([second.authKey.keyId]);
});

test("announcing a third time leaves both keys before in grace", async () => {
  const { registry, app } = await started();
  const first = await announce(registry, app);
  registry.clock.advance(100);
  const second = await announce(registry, app);
  registry.clock.advance(100);
  const third = await announce(registry, app);
  expect(await authKeysOf(registry, app)).toEqual([
    third.authKey.keyId,
    second.authKey.keyId,
    900,
    first.authKey.keyId,
    800,
  ]);
});

test("a change of provider stops the old Auth key, those in grace too", async () => {
  const { registry, app } = await started();
  await announce(registry, app);
  await announce(registry, app);
  const { authKey } = await announce(registry, app, byOther());
  expect(await authKeysOf(registry, app)).toEqual([authKey.keyId]);
});

test("a change of provider keeps the old Auth key for as long as the developer says", async () => {
  const { registry, app } = await started();
  const old = await announce(registry, app);
  const { authKey } = await announce(registry, app, byOther({ keepPreviousAuthKeySeconds: 7200 }));
  expect(await authKeysOf(registry, app)).toEqual([authKey.keyId, old.authKey.keyId, 7200]);
});

test("within one provider nothing else is kept, whatever the developer says", async () => {
  const { registry, app } = await started();
  const old = await announce(registry, app);
  const { authKey } = await announce(registry, app, { announcement: { keepPreviousAuthKeySeconds: 7200 } });
  expect(await authKeysOf(registry, app)).toEqual([authKey.keyId, old.authKey.keyId, 900]);
});

test("after a suspension of `auth` an announcement begins anew, without the keys before", async () => {
  const { registry, app } = await started();
  const old = await announce(registry, app);
  const auth = { app, serviceId: "auth", key: old.serviceKey };
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, auth) });
  const { authKey, serviceKey } = await announce(registry, app);
  expect(await authKeysOf(registry, app)).toEqual([authKey.keyId]);
  expect(await keyIdsOf(registry, auth)).toEqual([serviceKey.keyId]);
});
