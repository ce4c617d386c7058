import { create, type DescMessage, type DescMethodUnary, getOption, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { carries } from "../../../gen/omi/options/v1/options_pb.ts";
import { ResolverService } from "../../../gen/omi/registry/v1/resolver_service_pb.ts";
import { AnswerHeaderSchema, type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { toBase64Url } from "../../../src/core/bytes.ts";
import { encodeCanonical } from "../../../src/statement/canonical.ts";
import { type OpenedAnswer, openAnswer, verifySignature } from "../../../src/statement/statement.ts";
import { contract } from "../../statement/contract.ts";
import {
  announcementOf,
  backboneOf,
  bindingOf,
  bindTestService,
  claimOf,
  manifestOf,
  orderOf,
  present,
  registerTestApp,
  rotationOf,
  suspendOf,
  type TestApp,
  type TestService,
  unbindOf,
} from "../../support/developer.ts";
import { testKey, testNonce } from "../../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";

const { method: methods } = ResolverService;

interface Question {
  method: DescMethodUnary;
  request: Record<string, unknown>;
}

function questionsAbout({ app, serviceId }: TestService): Question[] {
  const { appId, namespace } = app;
  return [
    { method: methods.resolveRegistry, request: {} },
    { method: methods.listRegistryKeys, request: { afterVersion: 0n } },
    { method: methods.resolveNamespace, request: { namespace } },
    { method: methods.resolveApp, request: { appId } },
    { method: methods.resolveService, request: { appId, serviceId } },
    { method: methods.listServices, request: { appId } },
    { method: methods.listServices, request: { appId, pageSize: 1 } },
  ];
}

async function ask(registry: RunningRegistry, { method, request }: Question): Promise<Statement> {
  const client = registry.resolver as unknown as Record<string, (request: object) => Promise<{ answer?: Statement }>>;
  return present((await present(client[method.localName])(request)).answer);
}

function answerSchema(method: DescMethodUnary): DescMessage {
  return present(contract.getMessage(getOption(present(method.output.field.answer), carries)));
}

async function opened(registry: RunningRegistry, question: Question): Promise<OpenedAnswer> {
  const answer = openAnswer(answerSchema(question.method), await ask(registry, question));
  await verifySignature(answer, registry.key.publicKey);
  return answer;
}

/** What an answer says, without when and to whom. */
function said({ message }: OpenedAnswer): object {
  return { ...message, header: undefined };
}

async function started() {
  const registry = await startRegistry();
  const service = await bindTestService(registry, await registerTestApp(registry));
  return { registry, service, clock: registry.clock, app: service.app };
}

describe.each(Object.values(methods).map((method) => [method.name, method] as const))("%s", (_, method) => {
  async function startedWith() {
    const all = await started();
    const question = present(questionsAbout(all.service).find((about) => about.method === method));
    return { ...all, question };
  }

  test("is answered with the same signature until shortly before it expires", async () => {
    const { registry, clock, question } = await startedWith();
    const first = await ask(registry, question);
    clock.advance(50);
    expect(await ask(registry, question)).toEqual(first);
    clock.advance(6);
    const second = await opened(registry, question);
    expect(second.statement).not.toEqual(first);
    expect(second.header).toMatchObject({
      issuedAt: BigInt(clock.seconds()),
      expiresAt: BigInt(clock.seconds() + 60),
    });
  });

  test("is answered in the deterministic encoding, cached and fresh", async () => {
    const { registry, question } = await startedWith();
    for (const nonce of [new Uint8Array(), testNonce()]) {
      const { message, statement } = await opened(registry, {
        method,
        request: { ...question.request, nonce },
      });
      expect(statement.data).toEqual(encodeCanonical(answerSchema(method), message));
    }
  });

  test("has its fields where they are put together without the protobuf library", () => {
    const last = (schema: DescMessage) => Math.max(...schema.fields.map((field) => field.number));
    expect(method.output.field.answer?.number).toBe(1);
    expect(answerSchema(method).field.header?.number).toBe(1);
    expect(method.input.field.nonce?.number).toBe(last(method.input));
    expect(AnswerHeaderSchema.field.query.number).toBe(last(AnswerHeaderSchema));
    for (const schema of [method.input, AnswerHeaderSchema, StatementSchema]) expect(last(schema)).toBeLessThan(16);
  });

  test("is answered alike however the question is written", async () => {
    const { registry, question } = await startedWith();
    const { answers } = registry.registryPart;
    for (const nonce of [new Uint8Array(), testNonce()]) {
      const plain = toBinary(method.input, create(method.input, { ...question.request, nonce }));
      const unknownField = Uint8Array.of(0xf8, 0x07, 1);
      const written = [plain, Buffer.concat([unknownField, plain]), Buffer.concat([plain, unknownField])];
      const [first, ...others] = await Promise.all(written.map((request) => answers.answer(method, request)));
      for (const other of others) expect(other.frame).toEqual(first?.frame);
    }
  });

  test("is signed anew for every nonce", async () => {
    const { registry, clock, question } = await startedWith();
    await ask(registry, question);
    clock.advance(10);
    for (const nonce of [testNonce(), testNonce()]) {
      const request = { ...question.request, nonce };
      const { header } = await opened(registry, { method, request });
      expect(header.query).toEqual(toBinary(method.input, create(method.input, request)));
      expect(header.issuedAt).toBe(BigInt(clock.seconds()));
    }
  });
});

type Write = (registry: RunningRegistry, service: TestService) => Promise<unknown>;

const writes: readonly (readonly [string, Write])[] = [
  [
    "a rotation",
    ({ registry, clock }, service) => registry.rotateKey({ statement: rotationOf(clock, service, testKey("new")) }),
  ],
  ["a suspension", ({ registry, clock }, service) => registry.suspendService({ statement: suspendOf(clock, service) })],
  ["an unbinding", ({ registry, clock }, service) => registry.unbindService({ statement: unbindOf(clock, service) })],
  ["a binding", (registry, { app }) => bindTestService(registry, app, "second")],
  [
    "a binding again",
    async ({ registry, clock }, { app, ...service }) => {
      await registry.suspendService({ statement: suspendOf(clock, { app, ...service }) });
      clock.advance(1);
      const { serviceId } = service;
      const order = orderOf(clock, app, { serviceId });
      await registry.bindService({ statement: bindingOf(clock, app, { serviceId, order, key: testKey("again") }) });
    },
  ],
  ["a backbone", ({ registry, clock }, { app }) => registry.updateBackbone({ statement: backboneOf(clock, app) })],
  [
    "an announcement",
    ({ registry, clock }, { app }) => registry.announceAuth({ statement: announcementOf(clock, app) }),
  ],
  [
    "another app",
    ({ registry, clock }, { app: { namespace, master } }) =>
      registry.registerApp({ statement: manifestOf(clock, namespace, master, { projectSlug: "second" }) }),
  ],
  [
    "another namespace",
    ({ registry, clock }) => registry.claimNamespace({ statement: claimOf(clock, "another", testKey("another")) }),
  ],
];

test.each(writes)("%s is in every answer as soon as it is acknowledged", async (_, write) => {
  const { registry, service, clock } = await started();
  clock.advance(1);
  for (const question of questionsAbout(service)) {
    await ask(registry, question);
    await ask(registry, { ...question, request: { ...question.request, nonce: testNonce() } });
  }
  await write(registry, service);
  for (const question of questionsAbout(service)) {
    const cached = await opened(registry, question);
    const fresh = await opened(registry, { ...question, request: { ...question.request, nonce: testNonce() } });
    const { answers } = registry.registryPart;
    expect(said(cached)).toEqual(said(fresh));
    expect(cached.header.appSequence).toBe(fresh.header.appSequence);
    expect(answers.now()).toBe(clock.now());
  }
});

test("readers who never pause never see less than what was acknowledged", async () => {
  const { registry, service, clock, app } = await started();
  const about = { method: methods.resolveService, request: { appId: app.appId, serviceId: service.serviceId } };
  let acknowledged = 0n;
  let reading = true;
  const reader = async () => {
    while (reading) {
      const atLeast = acknowledged;
      const { header } = await opened(registry, about);
      expect(header.appSequence).toBeGreaterThanOrEqual(atLeast);
    }
  };
  const readers = [reader(), reader(), reader()];
  let current = service;
  for (let i = 0; i < 20; i++) {
    const key = testKey(`rotation ${i}`);
    await registry.registry.rotateKey({ statement: rotationOf(clock, current, key, { immediate: true }) });
    current = { ...current, key };
    acknowledged = BigInt(3 + i);
  }
  reading = false;
  await Promise.all(readers);
});

test("a kept answer ends with the grace period that it tells of", async () => {
  const { registry, service, clock } = await started();
  await registry.registry.rotateKey({
    statement: rotationOf(clock, service, testKey("new"), { gracePeriodSeconds: 60 }),
  });
  clock.advance(20);
  for (const question of questionsAbout(service).slice(4)) {
    const fresh = { ...question, request: { ...question.request, nonce: testNonce() } };
    for (const each of [question, fresh]) {
      expect((await opened(registry, each)).header.expiresAt).toBe(BigInt(clock.seconds() + 40));
    }
  }
  clock.advance(40);
  for (const question of questionsAbout(service).slice(4)) {
    const fresh = { ...question, request: { ...question.request, nonce: testNonce() } };
    const answers = [await opened(registry, question), await opened(registry, fresh)];
    for (const answer of answers) expect(JSON.stringify(said(answer), text)).not.toContain(service.key.keyId);
  }
});

function text(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}

describe("over plain HTTP", () => {
  const path = "/omi.registry.v1.ResolverService/ResolveApp";

  function get({ url }: RunningRegistry, { appId }: TestApp, nonce?: Uint8Array, headers = {}): Promise<Response> {
    const { input } = methods.resolveApp;
    const message = toBinary(input, create(input, { appId, ...(nonce && { nonce }) }));
    return fetch(`${url}${path}?connect=v1&encoding=proto&base64=1&message=${toBase64Url(message)}`, { headers });
  }

  test("caches are told how long an answer may be kept, and what it is", async () => {
    const { registry, clock, app } = await started();
    const first = await get(registry, app);
    expect(first.headers.get("cache-control")).toBe("public, max-age=60");
    const etag = first.headers.get("etag") ?? "";
    expect(etag).toMatch(/^"[\w-]+"$/);
    clock.advance(20);
    const again = await get(registry, app, undefined, { "if-none-match": etag });
    expect(again.status).toBe(304);
    expect(again.headers.get("cache-control")).toBe("public, max-age=40");
    expect(again.headers.get("etag")).toBe(etag);

    await registry.registry.updateBackbone({ statement: backboneOf(clock, app) });
    const changed = await get(registry, app, undefined, { "if-none-match": etag });
    expect(changed.status).toBe(200);
    expect(changed.headers.get("etag")).not.toBe(etag);
  });

  test("JSON too", async () => {
    const { registry, app } = await started();
    const message = encodeURIComponent(JSON.stringify({ appId: app.appId }));
    const answer = await fetch(`${registry.url}${path}?encoding=json&message=${message}`);
    expect(answer.headers.get("cache-control")).toBe("public, max-age=60");
    expect(await answer.json()).toMatchObject({ answer: { type: "omi.registry.v1.AppAnswer" } });
  });

  test("fresh answers and refusals are never kept", async () => {
    const { registry, app } = await started();
    const nonce = testNonce();
    for (const answer of [
      await get(registry, app, nonce),
      await get(registry, app, testNonce().subarray(1)),
      await get(registry, { ...app, appId: "test.omi-registry.nobody.shop.0a1b2c" }),
      await fetch(`${registry.url}${path}`),
      await fetch(`${registry.url}/nothing`),
    ]) {
      expect(answer.headers.get("cache-control")).toBe("no-store");
      expect(answer.headers.get("etag")).toBeNull();
    }
  });
});
