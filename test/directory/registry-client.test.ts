import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient, type ServiceImpl } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { EventSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { EventService } from "../../gen/omi/event/v1/event_service_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type App, AppAnswerSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { LogService } from "../../gen/omi/registry/v1/log_pb.ts";
import { NamespaceStatus } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { RegistryService } from "../../gen/omi/registry/v1/registry_service_pb.ts";
import { ResolverService } from "../../gen/omi/registry/v1/resolver_service_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { AnswerHeader, Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import type { RegistryClient } from "../../src/directory/registry-client.ts";
import type { WatchItem } from "../../src/directory/registry-events.ts";
import { RemoteRefusal } from "../../src/rpc/call/errors.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement } from "../../src/statement/statement.ts";
import {
  announcementOf,
  bindingOf,
  bindTestService,
  claimOf,
  manifestOf,
  present,
  registerTestApp,
  rotationOf,
  suspendOf,
  type TestApp,
  unbindOf,
} from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { type RunningRegistry, registryDomain, startRegistry } from "../support/registry.ts";
import { connectionsOf, connectionsTo, entryJson, meshCa, refusalOf, startParty } from "./support.ts";

async function start(): Promise<{ registry: RunningRegistry; client: RegistryClient; app: TestApp }> {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  return { registry, app, client: connectionsTo(registry).registries.forApp(app.appId) };
}

describe("a client of a real registry", () => {
  test("makes every write and gets the verified outcome", async () => {
    const { registry, client, app } = await start();
    const { clock } = registry;
    const master = testKey("master of all writes");
    const claimed = await client.claimNamespace(claimOf(clock, "all_writes", master));
    expect(claimed.value).toMatchObject({ namespace: "all_writes", status: NamespaceStatus.ACTIVE });
    expect((await client.registerApp(manifestOf(clock, "all_writes", master))).value.ownerNamespace).toBe("all_writes");
    expect((await client.announceAuth(announcementOf(clock, app))).value.context?.authKeys).toHaveLength(1);
    const bound = await client.bindService(bindingOf(clock, app, { serviceId: "article-1" }));
    expect(bound.value.service.status).toBe(ServiceStatus.ACTIVE);
    expect(bound.value.context.authProvider).toBe("auth.test");
    const service = await bindTestService(registry, app, "article-2");
    const next = testKey("next key of article-2");
    expect((await client.rotateKey(rotationOf(clock, service, next))).value.keys[0]?.keyId).toBe(next.keyId);
    expect((await client.suspendService(suspendOf(clock, service))).value.status).toBe(ServiceStatus.SUSPENDED);
    expect((await client.unbindService(unbindOf(clock, service))).value.status).toBe(ServiceStatus.REVOKED);
  });

  test.each([{ fresh: true }, { fresh: false }])("makes every read, %o", async (options) => {
    const { registry, client, app } = await start();
    await bindTestService(registry, app, "article-1");
    await bindTestService(registry, app, "article-2");
    expect((await client.resolveRegistry(options)).value.domain).toBe(registryDomain);
    expect((await client.resolveNamespace(app.namespace, options)).value.masterKeyId).toBe(app.master.keyId);
    expect((await client.resolveApp(app.appId, options)).value.masterKeyId).toBe(app.master.keyId);
    expect((await client.resolveService(app.appId, "article-1", options)).value.serviceId).toBe("article-1");
    const { value } = await client.listServices(app.appId, options);
    expect(value.map(({ serviceId }) => serviceId)).toEqual(["article-1", "article-2"]);
  });

  test("passes on what the registry refuses", async () => {
    const { client, app } = await start();
    const refusal = await refusalOf(client.resolveService(app.appId, "nobody"));
    expect(refusal).toBeInstanceOf(RemoteRefusal);
    expect(refusal.reason).toBe(Reason.SERVICE_UNKNOWN);
  });

  test("reads the log, events and heads", async () => {
    const { registry, client, app } = await start();
    await bindTestService(registry, app);
    const page = await client.readLog({ pageSize: 2 });
    expect(page.entries.map(({ index }) => index)).toEqual([1n, 2n]);
    const rest = await client.readLog({ after: page.position });
    expect(rest.position.index).toBe(rest.heads.value.logIndex);
    const events = await client.listEvents(app.appId, 0n);
    expect(events.map(({ value }) => value.sequence)).toEqual([1n, 2n]);
    expect(await client.listEvents(app.appId, 2n)).toEqual([]);
    expect((await client.getHeads([app.appId])).value.apps).toMatchObject([{ appId: app.appId, sequence: 2n }]);
  });

  test("listens until it is told to stop", async () => {
    const { registry, client, app } = await start();
    const abort = new AbortController();
    const items: WatchItem[] = [];
    for await (const item of client.watch({ apps: [{ appId: app.appId, sequence: 0n }], signal: abort.signal })) {
      items.push(item);
      if (items.length === 2) await bindTestService(registry, app);
      if (items.length === 3) abort.abort();
    }
    expect(items.map(({ kind }) => kind)).toEqual(["heads", "event", "event"]);
  });

  test("takes an event that it brought as verified, and a copy with another signature not", async () => {
    const { client, app } = await start();
    const abort = new AbortController();
    for await (const item of client.watch({ apps: [{ appId: app.appId, sequence: 0n }], signal: abort.signal })) {
      if (item.kind !== "event") continue;
      expect((await client.verifyEvent(item.statement)).value).toBe(item.value);
      const forged = { ...item.statement, signature: item.statement.signature.map((byte) => byte ^ 1) };
      expect((await refusalOf(client.verifyEvent(forged))).reason).toBe(Reason.ANSWER_INVALID);
      abort.abort();
    }
  });

  test("hears that the registry has stopped", async () => {
    const { registry, client, app } = await start();
    const stream = client.watch({ apps: [{ appId: app.appId, sequence: 1n }], signal: new AbortController().signal });
    const iterator = stream[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toMatchObject({ kind: "heads" });
    const next = refusalOf(iterator.next());
    await registry.stop();
    expect([Reason.SHUTTING_DOWN, Reason.REGISTRY_UNAVAILABLE]).toContain((await next).reason);
    expect(await refusalOf(client.resolveApp(app.appId))).toMatchObject({
      reason: Reason.REGISTRY_UNAVAILABLE,
      metadata: { registry: registryDomain },
    });
  });
});

test("a registry that nobody knows is unavailable, one that is none is not believed", async () => {
  const { registry } = await start();
  const shop = entryJson({ domain: "shop.test", party: Party.SERVICE_PROVIDER, baseUrl: "https://shop.test" });
  const { registries } = connectionsTo(registry, { directory: [shop] });
  expect(await refusalOf(registries.forDomain("nowhere.invalid").resolveRegistry())).toMatchObject({
    reason: Reason.REGISTRY_UNAVAILABLE,
    metadata: { registry: "nowhere.invalid" },
  });
  expect((await refusalOf(registries.forDomain("shop.test").resolveRegistry())).reason).toBe(Reason.ANSWER_INVALID);
  expect((await refusalOf(() => registries.forApp("no AppID"))).reason).toBe(Reason.FIELD_INVALID);
});

/** The reads that a client makes by itself, passed on to the registry. */
function passOn(resolver: RunningRegistry["resolver"]): Partial<ServiceImpl<typeof ResolverService>> {
  return { resolveRegistry: (request) => resolver.resolveRegistry(request) };
}

/** What stands between a client and the registry: `changes` say what it answers. */
async function startMiddleman(
  registry: RunningRegistry,
  changes: {
    resolver?: Partial<ServiceImpl<typeof ResolverService>>;
    registry?: Partial<ServiceImpl<typeof RegistryService>>;
    log?: Partial<ServiceImpl<typeof LogService>>;
    events?: Partial<ServiceImpl<typeof EventService>>;
  },
): Promise<RegistryClient> {
  const address = await startParty({
    plain: true,
    routes(router) {
      router.service(ResolverService, { ...passOn(registry.resolver), ...changes.resolver });
      router.service(RegistryService, { ...changes.registry });
      router.service(LogService, { ...changes.log });
      router.service(EventService, { ...changes.events });
    },
  });
  return connectionsTo({ ...registry, url: `http://${address}` }).registries.forDomain(registryDomain);
}

/** An answer as it comes from the registry: with all its parts. */
type Answered = { header: AnswerHeader; app: App };

/** The answer, signed again after a change. */
function forge(
  answer: Statement | undefined,
  key: SigningKey,
  change: (message: Answered) => void,
): { answer: Statement } {
  const { message } = openAnswer(AppAnswerSchema, present(answer));
  change(message as Answered);
  return { answer: signStatement(AppAnswerSchema, message as MessageInitShape<typeof AppAnswerSchema>, key) };
}

describe("an answer is not believed", () => {
  test.each<[string, string, (message: Answered, now: bigint) => void]>([
    [
      "to another question",
      "answer.header.query",
      ({ header }) => void Object.assign(header, { query: new Uint8Array([1]) }),
    ],
    [
      "to a write",
      "answer.header.in_reply_to",
      ({ header }) => void Object.assign(header, { inReplyTo: new Uint8Array(32) }),
    ],
    [
      "that has expired",
      "answer.header.expires_at",
      ({ header }, now) => void Object.assign(header, { expiresAt: now - 30n }),
    ],
    [
      "from the future",
      "answer.header.issued_at",
      ({ header }, now) => void Object.assign(header, { issuedAt: now + 31n }),
    ],
    [
      "from before the question",
      "answer.header.issued_at",
      ({ header }, now) => void Object.assign(header, { issuedAt: now - 31n }),
    ],
    [
      "about another app",
      "answer.app.app_id",
      ({ app }) => void Object.assign(app, { appId: "test.omi-registry.x.yy.000000" }),
    ],
    ["about nothing", "answer.app", (answer) => void Object.assign(answer, { app: undefined })],
  ])("%s", async (_, field, change) => {
    const { registry, app } = await start();
    const client = await startMiddleman(registry, {
      resolver: {
        resolveApp: async (request) => {
          const { answer } = await registry.resolver.resolveApp(request);
          return forge(answer, registry.key, (message) => change(message, BigInt(registry.clock.seconds())));
        },
      },
    });
    expect(await refusalOf(client.resolveApp(app.appId, { fresh: true }))).toMatchObject({
      reason: Reason.ANSWER_INVALID,
      metadata: { field, domain: registryDomain },
    });
  });

  test.each<[string, (answer: Statement) => Statement]>([
    ["by another key", (answer) => present(forge(answer, testKey("stranger"), () => {}).answer)],
    ["that was changed", (answer) => ({ ...answer, data: present(forge(answer, testKey("x"), () => {}).answer).data })],
    ["of another type", (answer) => ({ ...answer, type: "omi.registry.v1.ServiceAnswer" })],
    ["of another version", (answer) => ({ ...answer, version: "2.0" })],
  ])("%s", async (_, change) => {
    const { registry, app } = await start();
    const client = await startMiddleman(registry, {
      resolver: {
        resolveApp: async (request) => ({
          answer: change(present((await registry.resolver.resolveApp(request)).answer)),
        }),
      },
    });
    expect((await refusalOf(client.resolveApp(app.appId))).reason).toBe(Reason.ANSWER_INVALID);
  });

  test("to another fresh read of the same app", async () => {
    const { registry, app } = await start();
    const old = await registry.resolver.resolveApp({ appId: app.appId, nonce: new Uint8Array(16).fill(1) });
    const client = await startMiddleman(registry, { resolver: { resolveApp: () => old } });
    expect((await refusalOf(client.resolveApp(app.appId, { fresh: true }))).metadata.field).toBe("answer.header.query");
  });

  test("to another write", async () => {
    const { registry, app } = await start();
    const first = await bindTestService(registry, app, "article-1");
    const other = await registry.registry.suspendService({ statement: suspendOf(registry.clock, first) });
    const second = await bindTestService(registry, app, "article-2");
    const client = await startMiddleman(registry, { registry: { suspendService: () => other } });
    expect((await refusalOf(client.suspendService(suspendOf(registry.clock, second)))).metadata.field).toBe(
      "answer.header.in_reply_to",
    );
  });

  test("that is none of the contract", async () => {
    const { registry, app } = await start();
    const client = await startMiddleman(registry, { resolver: { resolveApp: () => ({}) } });
    expect((await refusalOf(client.resolveApp(app.appId))).reason).toBe(Reason.ANSWER_INVALID);
  });

  test("when the registry is behind what it said before", async () => {
    const { registry, app } = await start();
    let behind = false;
    const client = await startMiddleman(registry, {
      resolver: {
        resolveApp: async (request) => {
          const { answer } = await registry.resolver.resolveApp(request);
          return forge(answer, registry.key, ({ header }) => void Object.assign(header, behind && { appSequence: 0n }));
        },
      },
    });
    await client.resolveApp(app.appId, { fresh: true });
    behind = true;
    const refusal = await refusalOf(client.resolveApp(app.appId, { fresh: true }));
    expect(refusal).toMatchObject({ reason: Reason.REGISTRY_ROLLED_BACK, metadata: { registry: registryDomain } });
  });

  test("if an entry of the log was changed, or events are missing", async () => {
    const { registry, app } = await start();
    await bindTestService(registry, app);
    const client = await startMiddleman(registry, {
      log: {
        readLog: async (request) => {
          const page = await registry.log.readLog(request);
          for (const entry of page.entries) if (entry.index === 2n) entry.time += 1n;
          return page;
        },
      },
      events: {
        listEvents: async (request) => {
          const list = await registry.events.listEvents(request);
          return { events: list.events.slice(1) };
        },
      },
    });
    expect((await refusalOf(client.readLog())).metadata.field).toBe("entries[1].hash");
    expect((await refusalOf(client.listEvents(app.appId, 0n))).metadata.field).toBe("events[0].sequence");
  });
});

test("an event by another key ends the listening", async () => {
  const { registry, app } = await start();
  const abort = new AbortController();
  const client = await startMiddleman(registry, {
    events: {
      watch: async function* () {
        const { events } = await registry.events.listEvents({ appId: app.appId });
        const { message } = openAnswer(EventSchema, present(events[0]));
        yield {
          event: signStatement(EventSchema, message as MessageInitShape<typeof EventSchema>, testKey("stranger")),
        };
      },
    },
  });
  const listening = client.watch({ signal: abort.signal })[Symbol.asyncIterator]().next();
  expect(await refusalOf(listening)).toMatchObject({
    reason: Reason.ANSWER_INVALID,
    metadata: { field: "event.header.signer" },
  });
});

test("a registry is found by its domain, and its keys are pinned at first contact", async () => {
  const domain = "registry.mesh.test";
  const registry = await startRegistry({ domain });
  const transport = createConnectTransport({ baseUrl: registry.url, httpVersion: "2" });
  const address = await startParty({
    routes: (router) => router.service(ResolverService, passOn(createClient(ResolverService, transport))),
    httpRoutes: [
      {
        method: "GET",
        path: "/.well-known/omi",
        handler: () => ({
          headers: { "content-type": "application/json" },
          body: JSON.stringify(
            entryJson({
              domain,
              party: Party.REGISTRY,
              baseUrl: `https://${domain}`,
              registryKeys: registry.registryPart.keySet(),
            }),
          ),
        }),
      },
    ],
  });
  const { registries } = connectionsOf({ hosts: { [domain]: address } }, { clock: registry.clock, ca: meshCa });
  const { value } = await registries.forDomain(domain).resolveRegistry({ fresh: true });
  expect(value.domain).toBe(domain);
});

test("preset keys that are not the registry's are not enough", async () => {
  const { registry, app } = await start();
  const preset = entryJson({
    domain: registryDomain,
    party: Party.REGISTRY,
    baseUrl: `http://${registryDomain}`,
    keys: [{ publicKey: testKey("stranger").publicKey, algorithm: KeyAlgorithm.ED25519 }],
  });
  const { registries } = connectionsOf(
    { development: true, directory: [preset], hosts: { [registryDomain]: new URL(registry.url).host } },
    { clock: registry.clock },
  );
  expect((await refusalOf(registries.forApp(app.appId).resolveApp(app.appId))).reason).toBe(Reason.ANSWER_INVALID);
});
