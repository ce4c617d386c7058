import { create, type DescMethodUnary, getOption, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { carries, rule } from "../../../gen/omi/options/v1/options_pb.ts";
import { AppAnswerSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import {
  ActivationPolicy,
  RegistryAnswerSchema,
  RegistryKeysSchema,
} from "../../../gen/omi/registry/v1/registry_pb.ts";
import { ResolverService } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, reasonName } from "../../../src/core/refusal.ts";
import { openAnswer, verifySignature } from "../../../src/statement/statement.ts";
import { contract } from "../../statement/contract.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  suspendOf,
  type TestService,
  unbindOf,
} from "../../support/developer.ts";
import { testNonce } from "../../support/keys.ts";
import { type RunningRegistry, registryDomain, startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, resolvedService, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";

/** A read, and how it is asked about a service's app, its namespace, or the service. */
interface Read {
  method: DescMethodUnary;
  query(service: TestService): Record<string, unknown>;
  /** What the answer's message says. */
  answer(service: TestService): object;
  /** Questions that are refused. */
  refusals?: readonly (readonly [Reason, string, (service: TestService) => Record<string, unknown>])[];
}

const unknownApps: Read["refusals"] = [
  [Reason.APP_UNKNOWN, "an app that is not registered", ({ serviceId }) => ({ appId: unknownAppId, serviceId })],
  [Reason.REGISTRY_MISMATCH, "an app of another registry", ({ serviceId }) => ({ appId: appIdElsewhere, serviceId })],
];

const reads: readonly Read[] = [
  {
    method: ResolverService.method.resolveRegistry,
    query: () => ({}),
    answer: () => ({ domain: registryDomain, logSize: 4n }),
  },
  {
    method: ResolverService.method.listRegistryKeys,
    query: () => ({ afterVersion: 0n }),
    answer: () => ({ domain: registryDomain, keySets: [{ type: RegistryKeysSchema.typeName }] }),
  },
  {
    method: ResolverService.method.resolveNamespace,
    query: ({ app }) => ({ namespace: app.namespace }),
    answer: ({ app }) => ({ namespace: { namespace: app.namespace, masterKeyId: app.master.keyId } }),
    refusals: [[Reason.NAMESPACE_UNKNOWN, "a namespace that nobody claimed", () => ({ namespace: "nobody" })]],
  },
  {
    method: ResolverService.method.resolveApp,
    query: ({ app }) => ({ appId: app.appId }),
    answer: ({ app }) => ({ app: { appId: app.appId, masterPublicKey: app.master.publicKey } }),
    refusals: unknownApps,
  },
  {
    method: ResolverService.method.resolveService,
    query: ({ app, serviceId }) => ({ appId: app.appId, serviceId }),
    answer: ({ app, serviceId, key }) => ({
      service: { appId: app.appId, serviceId, status: ServiceStatus.ACTIVE, keys: [{ keyId: key.keyId }] },
    }),
    refusals: [
      ...unknownApps,
      [
        Reason.SERVICE_UNKNOWN,
        "a service that was never bound",
        ({ app }) => ({ appId: app.appId, serviceId: "other-1" }),
      ],
    ],
  },
  {
    method: ResolverService.method.listServices,
    query: ({ app }) => ({ appId: app.appId }),
    answer: ({ app, serviceId }) => ({ appId: app.appId, services: [{ serviceId }], nextPageToken: "" }),
    refusals: [
      ...unknownApps,
      [
        Reason.CURSOR_INVALID,
        "a page token that is none",
        ({ app }) => ({ appId: app.appId, pageToken: "no page token" }),
      ],
      [Reason.LIST_CHANGED, "an old page token", ({ app }) => ({ appId: app.appId, pageToken: "1.cms-article-77" })],
    ],
  },
];

async function started(): Promise<{ registry: RunningRegistry; service: TestService }> {
  const registry = await startRegistry();
  return { registry, service: await bindTestService(registry, await registerTestApp(registry)) };
}

describe.each(reads.map((read) => [read.method.name, read] as const))("%s", (_name, read) => {
  const { method } = read;

  async function ask(registry: RunningRegistry, request: Record<string, unknown>): Promise<Statement> {
    const client = registry.resolver as unknown as Record<string, (request: object) => Promise<{ answer?: Statement }>>;
    return present((await present(client[method.localName])(request)).answer);
  }

  test.each([
    ["a cached", () => undefined],
    ["a fresh", testNonce],
  ])("%s answer repeats the question and is good for a minute", async (_, newNonce) => {
    const { registry, service } = await started();
    const nonce = newNonce();
    const request = { ...read.query(service), ...(nonce && { nonce }) };
    const schema = present(contract.getMessage(getOption(present(method.output.field.answer), carries)));
    const opened = openAnswer(schema, await ask(registry, request));
    await verifySignature(opened, registry.key.publicKey);
    const now = BigInt(registry.clock.seconds());
    expect(opened.message).toMatchObject(read.answer(service));
    expect(opened.header).toMatchObject({
      issuedAt: now,
      expiresAt: now + 60n,
      inReplyTo: new Uint8Array(),
      query: toBinary(method.input, create(method.input, request)),
    });
  });

  test("a nonce has 16 bytes", async () => {
    const { registry, service } = await started();
    const refusal = await refused(
      ask(registry, { ...read.query(service), nonce: new Uint8Array(15) }),
      Reason.FIELD_INVALID,
    );
    expect(refusal.metadata.field).toBe("nonce");
  });

  test.for(read.refusals ?? [])("refuses $1", async ([reason, , query]) => {
    const { registry, service } = await started();
    await refused(ask(registry, query(service)), reason);
  });

  test("these are all Reasons that the contract gives the RPC by name", () => {
    const tested = (read.refusals ?? []).map(([reason]) => reasonName(reason));
    expect(tested.sort()).toEqual(getOption(method, rule).failsWith.map(reasonName).sort());
  });
});

test("the registry describes its policy and its keys", async () => {
  const registry = await startRegistry({
    policy: {
      freshnessWindowSeconds: 120,
      defaultGracePeriodSeconds: 240,
      minGracePeriodSeconds: 60,
      maxGracePeriodSeconds: 600,
      activationPolicy: ActivationPolicy.CODE,
    },
  });
  const { answer } = await registry.resolver.resolveRegistry({});
  const { message } = openAnswer(RegistryAnswerSchema, present(answer));
  expect(message).toMatchObject({
    freshnessWindowSeconds: 120,
    defaultGracePeriodSeconds: 240,
    minGracePeriodSeconds: 60,
    maxGracePeriodSeconds: 600,
    activationPolicy: ActivationPolicy.CODE,
    logSize: 1n,
  });
  const keys = openAnswer(RegistryKeysSchema, present(message.registryKeys));
  await verifySignature(keys, registry.key.publicKey);
  expect(keys.message).toMatchObject({
    domain: registryDomain,
    version: 1n,
    keys: [{ publicKey: registry.key.publicKey, notBefore: 0n, notAfter: 0n }],
  });
});

test("a service is shown whatever became of it", async () => {
  const { registry, service } = await started();
  const { clock } = registry;
  const now = async () => resolvedService(registry, service.app.appId, service.serviceId);
  const active = await now();
  expect(active.updatedAt).toBe(active.boundAt);

  clock.advance(10);
  await registry.registry.suspendService({ statement: suspendOf(clock, service) });
  expect(await now()).toMatchObject({
    status: ServiceStatus.SUSPENDED,
    keys: [],
    endpointUrl: active.endpointUrl,
    boundAt: active.boundAt,
    updatedAt: active.boundAt + 10n,
  });

  clock.advance(10);
  await registry.registry.unbindService({ statement: unbindOf(clock, service) });
  expect(await now()).toMatchObject({
    status: ServiceStatus.REVOKED,
    keys: [],
    endpointUrl: "",
    provider: active.provider,
    updatedAt: active.boundAt + 20n,
  });
});

test("the answer's app_sequence counts the app's events", async () => {
  const { registry, service } = await started();
  const { app } = service;
  const sequence = async () => {
    const { answer } = await registry.resolver.resolveApp({ appId: app.appId });
    return openAnswer(AppAnswerSchema, present(answer)).header.appSequence;
  };
  expect(await sequence()).toBe(2n);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  expect(await sequence()).toBe(3n);
});
