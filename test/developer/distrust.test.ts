import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import {
  DataHandling,
  ServiceProvisionedSchema,
  TerminationReceiptSchema,
  TerminationStatus,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService, TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { type AuthProvisioned, AuthProvisionedSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { AuthProviderService } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { AnswerHeaderSchema, type Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../src/core/bytes.ts";
import { Reason, Refusal } from "../../src/core/refusal.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { signStatement, statementId } from "../../src/statement/statement.ts";
import { refusalOf } from "../directory/support.ts";
import type { FakeClock } from "../support/clock.ts";
import { bindingOf, bindTestService, headerAt, possessionOf, present } from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { providers, type RunningRegistry } from "../support/registry.ts";
import { type DeveloperMesh, type ServedPart, startApp, startMesh } from "./support.ts";

const authKey = testKey("auth key");
const serviceKey = testKey("auth service key");

/** A party whose behaviour a test sets after the mesh was started. */
class Puppet {
  agent: Partial<ServiceImpl<typeof AgentService>> = {};
  auth: Partial<ServiceImpl<typeof AuthProviderService>> = {};
  tenancy: Partial<ServiceImpl<typeof TenancyService>> = {};

  readonly part: ServedPart = {
    routes: (router) => {
      router.service(AgentService, { provisionService: (...call) => present(this.agent.provisionService)(...call) });
      router.service(AuthProviderService, { provisionAuth: (...call) => present(this.auth.provisionAuth)(...call) });
      router.service(TenancyService, {
        terminateService: (...call) => present(this.tenancy.terminateService)(...call),
        rotateServiceKey: (...call) => present(this.tenancy.rotateServiceKey)(...call),
      });
    },
  };
}

async function start(): Promise<DeveloperMesh & { puppet: Puppet; appId: string }> {
  const puppet = new Puppet();
  const mesh = await startMesh({ auth: puppet.part, article: puppet.part });
  return { ...mesh, puppet, appId: await startApp(mesh) };
}

/** An answer to `order`, signed as it should be unless told otherwise. */
function answerTo<Desc extends DescMessage>(
  clock: FakeClock,
  schema: Desc,
  order: Statement,
  message: Record<string, unknown>,
  key: SigningKey,
): Statement {
  const header = create(AnswerHeaderSchema, { issuedAt: BigInt(clock.seconds()), inReplyTo: statementId(order) });
  return signStatement(schema, { header, ...message } as unknown as MessageInitShape<Desc>, key);
}

describe("an Auth Provider's answer is not announced", () => {
  type Right = Omit<AuthProvisioned, "$typeName" | "$unknown" | "header">;
  const cases: [string, (right: Right, clock: FakeClock) => Record<string, unknown>, SigningKey?][] = [
    ["if it is signed by a stranger", () => ({}), testKey("stranger")],
    ["if it answers another order", () => ({ header: { issuedAt: 1n, inReplyTo: new Uint8Array(32) } })],
    ["if it is about another app", ({ appId }) => ({ appId: appId.replace("shop", "shopp") })],
    ["if its issuer is elsewhere", () => ({ authProviderUrl: "http://crm.test/apps" })],
    ["if its issuer has plain http where nothing allows it", () => ({ authProviderUrl: "http://evil.example" })],
    ["without a proof that it holds the Auth key", () => ({ authKeyPossession: undefined })],
    ["with the proofs exchanged", (right) => ({ authKeyPossession: right.serviceKeyPossession })],
    [
      "with a proof for another app",
      ({ appId }, clock) => ({
        authKeyPossession: possessionOf(clock, authKey, {
          appId: appId.replace("shop", "shopp"),
          serviceId: "auth",
          role: KeyRole.AUTH,
        }),
      }),
    ],
    [
      "with a proof by another key",
      ({ appId }, clock) => ({
        authKeyPossession: possessionOf(
          clock,
          authKey,
          { appId, serviceId: "auth", role: KeyRole.AUTH },
          testKey("stranger"),
        ),
      }),
    ],
    ["with a key of small order", () => ({ authPublicKey: new Uint8Array(32) })],
  ];

  test.each(cases)("%s", async (_, wrong, key = providers.auth.key) => {
    const { puppet, clock, appId, developer, steps } = await start();
    puppet.auth.provisionAuth = ({ statement }) => {
      const common = { appId, serviceId: "auth" };
      const right: Right = {
        appId,
        authPublicKey: authKey.publicKey,
        servicePublicKey: serviceKey.publicKey,
        authProviderUrl: `http://${providers.auth.domain}/apps/1`,
        authKeyPossession: possessionOf(clock, authKey, { ...common, role: KeyRole.AUTH }),
        serviceKeyPossession: possessionOf(clock, serviceKey, common),
      };
      const message = { ...right, ...wrong(right, clock) };
      return { answer: answerTo(clock, AuthProvisionedSchema, present(statement), message, key) };
    };
    const refusal = await refusalOf(developer.provisionAuth({ appId, provider: providers.auth.domain }));
    expect(refusal).toMatchObject({ reason: Reason.ANSWER_INVALID, metadata: { domain: providers.auth.domain } });
    expect(steps.some(({ type }) => type.endsWith("AuthAnnouncement"))).toBe(false);
  });
});

describe("a provider's word that a service is bound is not taken", () => {
  const order = { provider: providers.article.domain, serviceType: "cms-article" };

  async function provisionWith(
    wrong: Record<string, unknown>,
    options: { bind?: boolean; key?: SigningKey; serviceId?: string } = {},
  ) {
    const { puppet, clock, appId, developer, registry, master } = await start();
    const app = { appId, namespace: "alice", master };
    puppet.agent.provisionService = async ({ statement }) => {
      const binding = { serviceId: "article-1", order: present(statement), key: serviceKey };
      if (options.bind !== false) {
        await registry.registry.bindService({ statement: bindingOf(clock, app, binding) });
      }
      const right = {
        appId,
        serviceId: "article-1",
        serviceType: "cms-article",
        publicKey: serviceKey.publicKey,
        endpointUrl: "http://i77.article.cms.test",
      };
      const key = options.key ?? providers.article.key;
      return { answer: answerTo(clock, ServiceProvisionedSchema, present(statement), { ...right, ...wrong }, key) };
    };
    const { serviceId } = options;
    return developer.provisionService({ ...order, appId, ...(serviceId !== undefined && { serviceId }) });
  }

  test("unless all is right", async () => {
    expect((await provisionWith({})).status).toBe(ServiceStatus.ACTIVE);
  });

  test("if the registry knows nothing of it", async () => {
    expect((await refusalOf(provisionWith({}, { bind: false }))).reason).toBe(Reason.SERVICE_UNKNOWN);
  });

  test.each<[string, Record<string, unknown>, { bind?: boolean; key?: SigningKey; serviceId?: string }]>([
    ["if the registry has another key", { publicKey: testKey("another").publicKey }, {}],
    ["if the registry has another endpoint", { endpointUrl: "http://i78.article.cms.test" }, {}],
    ["if the endpoint is elsewhere", { endpointUrl: "http://crm.test" }, {}],
    ["if it is another type", { serviceType: "crm" }, {}],
    ["if it is for another app", { appId: "test.omi-registry.alice.other.000000" }, {}],
    ["if it is another service than was ordered", {}, { serviceId: "article-2", bind: false }],
    ["if a stranger gives it", {}, { key: testKey("stranger") }],
  ])("%s", async (_, wrong, options) => {
    expect((await refusalOf(provisionWith(wrong, options))).reason).toBe(Reason.ANSWER_INVALID);
  });
});

describe("a receipt is not passed on", () => {
  async function terminateWith(
    key: SigningKey | "service",
    wrong: Record<string, unknown> = {},
  ): Promise<{ outcome: Promise<unknown>; registry: RunningRegistry; appId: string }> {
    const { puppet, clock, appId, developer, registry, master } = await start();
    const service = await bindTestService(registry, { appId, namespace: "alice", master });
    puppet.tenancy.terminateService = ({ statement }) => {
      const receipt = {
        header: headerAt(clock),
        appId,
        serviceId: service.serviceId,
        status: TerminationStatus.SUCCESS,
        receiptId: "1",
        requestDigest: statementId(present(statement)),
        ...wrong,
      };
      const signer = key === "service" ? service.key : key;
      return { receipt: signStatement(TerminationReceiptSchema, receipt, signer) };
    };
    const order = { appId, serviceId: service.serviceId, dataHandling: DataHandling.WIPE };
    return { outcome: developer.terminateService(order), registry, appId };
  }

  test("unless it is right", async () => {
    const { outcome } = await terminateWith("service");
    expect(await outcome).toMatchObject({ repeated: false, service: { status: ServiceStatus.REVOKED } });
  });

  test("and one for an earlier order is told apart", async () => {
    const { outcome } = await terminateWith("service", { requestDigest: new Uint8Array(32) });
    expect(await outcome).toMatchObject({ repeated: true });
  });

  test.each<[string, SigningKey | "service", Record<string, unknown>]>([
    ["if another key signed it", testKey("stranger"), {}],
    ["if it is for another service", "service", { serviceId: "another" }],
    ["if it is for another registry", "service", { header: { ...headerless(), audience: "other.test" } }],
    ["if it has no number", "service", { receiptId: "" }],
  ])("%s", async (_, key, wrong) => {
    const { outcome } = await terminateWith(key, wrong);
    expect((await refusalOf(outcome)).reason).toBe(Reason.ANSWER_INVALID);
  });
});

describe("a party that is busy", () => {
  test("is asked again with the same bytes", async () => {
    const { puppet, clock, appId, developer, registry, master, steps } = await start();
    const seen: string[] = [];
    puppet.agent.provisionService = async ({ statement }) => {
      const order = present(statement);
      seen.push(toHex(statementId(order)));
      if (seen.length < 3) throw new Refusal(Reason.OVERLOADED, "busy");
      const app = { appId, namespace: "alice", master };
      const binding = bindingOf(clock, app, { serviceId: "article-1", order, key: serviceKey });
      await registry.registry.bindService({ statement: binding });
      const message = {
        appId,
        serviceId: "article-1",
        serviceType: "cms-article",
        publicKey: serviceKey.publicKey,
        endpointUrl: "http://i77.article.cms.test",
      };
      return { answer: answerTo(clock, ServiceProvisionedSchema, order, message, providers.article.key) };
    };
    const order = { appId, provider: providers.article.domain, serviceType: "cms-article" };
    const service = await developer.provisionService(order);
    expect(service.keys).toMatchObject([{ keyId: serviceKey.keyId, status: KeyStatus.ACTIVE }]);
    expect(new Set(seen).size).toBe(1);
    expect(steps.filter(({ action }) => action === "sent again")).toHaveLength(2);
  });

  test("is given up in the end", async () => {
    const { puppet, appId, developer } = await start();
    let calls = 0;
    puppet.agent.provisionService = () => {
      calls++;
      throw new Refusal(Reason.OVERLOADED, "busy");
    };
    const order = { appId, provider: providers.article.domain, serviceType: "cms-article" };
    expect((await refusalOf(developer.provisionService(order))).reason).toBe(Reason.OVERLOADED);
    expect(calls).toBe(4);
  });

  test("is not asked again when it has refused", async () => {
    const { puppet, appId, developer } = await start();
    let calls = 0;
    puppet.agent.provisionService = () => {
      calls++;
      throw new Refusal(Reason.PROVIDER_REFUSED, "no such tier", { metadata: { field: "service_tier" } });
    };
    const order = { appId, provider: providers.article.domain, serviceType: "cms-article" };
    expect((await refusalOf(developer.provisionService(order))).metadata.field).toBe("service_tier");
    expect(calls).toBe(1);
  });
});

test("a party of another kind, or that nobody knows, is not asked", async () => {
  const { appId, developer } = await start();
  const wrong = developer.provisionAuth({ appId, provider: providers.article.domain });
  expect((await refusalOf(wrong)).reason).toBe(Reason.PROVIDER_UNKNOWN);
  const unknown = developer.provisionService({ appId, provider: "nowhere.invalid", serviceType: "cms-article" });
  expect((await refusalOf(unknown)).reason).toBe(Reason.PROVIDER_UNKNOWN);
});

function headerless() {
  return { timestamp: 1_790_000_000n, nonce: new Uint8Array(16).fill(7) };
}
