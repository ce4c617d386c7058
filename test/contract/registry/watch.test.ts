import { create, toBinary } from "@bufbuild/protobuf";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { EventType } from "../../../gen/omi/event/v1/event_pb.ts";
import { EventService, WatchRequestSchema } from "../../../gen/omi/event/v1/event_service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import type { RegistryOptions } from "../../../src/registry/service.ts";
import {
  backboneOf,
  bindTestService,
  registerTestApp,
  suspendOf,
  type TestApp,
  unbindOf,
} from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { type RunningRegistry, registryClients, registryDomain, startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, resolvedApp, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { Watching } from "../support/watching.ts";

/** gRPC takes the fast path, Connect that of all other RPCs. */
const transports = { gRPC: createGrpcTransport, Connect: createConnectTransport };

/** A registry with an app; its events are watched by a protocol. */
async function startWith(protocol: keyof typeof transports, options: Partial<RegistryOptions> = {}) {
  const registry = await startRegistry(options);
  const { events } = registryClients(transports[protocol]({ baseUrl: registry.url, httpVersion: "2" }));
  return { registry: { ...registry, events }, app: await registerTestApp(registry) };
}

/** Makes `count` events of an app. */
async function change(registry: RunningRegistry, app: TestApp, count = 1): Promise<void> {
  const { context } = await resolvedApp(registry, app.appId);
  const epoch = context?.configEpoch ?? 0n;
  for (let i = 0n; i < count; i++) {
    const statement = backboneOf(registry.clock, app, { expectedConfigEpoch: epoch + i });
    await registry.registry.updateBackbone({ statement });
  }
}

describe.each(["gRPC", "Connect"] as const)("over %s", (protocol) => {
  const started = () => startWith(protocol);

  test("heads come first, then the events that the caller lacks, then those that happen", async () => {
    const { registry, app } = await started();
    await change(registry, app, 2);
    const watching = new Watching(registry, { apps: [{ appId: app.appId, sequence: 1n }] });
    expect(await watching.heads()).toMatchObject({
      origin: registryDomain,
      logIndex: 5n,
      apps: [{ appId: app.appId, sequence: 3n }],
    });
    expect(await watching.sequences(2)).toEqual([2, 3]);

    const service = await bindTestService(registry, app);
    expect(await watching.event()).toMatchObject({ event: EventType.SERVICE_BOUND, sequence: 4n, logIndex: 6n });
    await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
    await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
    expect(await watching.event()).toMatchObject({ event: EventType.KEY_ROTATION, sequence: 5n });
    expect(await watching.event()).toMatchObject({ event: EventType.PURGE, sequence: 6n });
  });

  test("only the apps that are watched are heard of", async () => {
    const { registry, app } = await started();
    const [silent, loud] = [await registerTestApp(registry), await registerTestApp(registry)];
    const watching = new Watching(registry, {
      apps: [app, silent].map(({ appId }) => ({ appId, sequence: 1n })),
    });
    const { apps } = await watching.heads();
    expect(apps.map(({ appId }) => appId)).toEqual([app.appId, silent.appId].sort());
    await change(registry, loud);
    await change(registry, app);
    expect(await watching.event()).toMatchObject({ appId: app.appId, sequence: 2n });
  });

  test("all apps are heard of from a log index on, heads are those of the log alone", async () => {
    const { registry, app } = await started();
    const other = await registerTestApp(registry);
    // The log: keys, claim, app, claim, app.
    const watching = new Watching(registry, { afterLogIndex: 3n });
    expect(await watching.heads()).toMatchObject({ logIndex: 5n, apps: [] });
    expect(await watching.event()).toMatchObject({ appId: other.appId, logIndex: 5n, sequence: 1n });
    await change(registry, app);
    expect(await watching.event()).toMatchObject({ appId: app.appId, logIndex: 6n, sequence: 2n });
    await registerTestApp(registry);
    expect(await watching.event()).toMatchObject({ event: EventType.APP_REGISTERED, logIndex: 8n });
  });

  test("heads come every 5 seconds, whether anything happens or not", async () => {
    const { registry, app } = await started();
    const watching = new Watching(registry, { apps: [{ appId: app.appId, sequence: 1n }] });
    const first = await watching.heads();
    registry.clock.advance(5);
    const second = await watching.heads();
    expect((second.header?.issuedAt ?? 0n) - (first.header?.issuedAt ?? 0n)).toBe(5n);
    expect((second.header?.expiresAt ?? 0n) - (second.header?.issuedAt ?? 0n)).toBe(10n);

    registry.clock.advance(4.999);
    await change(registry, app);
    expect(await watching.event()).toMatchObject({ sequence: 2n });
    registry.clock.advance(0.001);
    expect(await watching.heads()).toMatchObject({ apps: [{ sequence: 2n }] });
  });

  test("a caller who takes long gets everything in order all the same", async () => {
    const { registry, app } = await started();
    const other = await registerTestApp(registry);
    const watching = new Watching(registry, { apps: [app, other].map(({ appId }) => ({ appId })) });
    await watching.heads();
    await change(registry, app, 130);
    await change(registry, other, 5);
    const bySequence = new Map<string, number[]>([app, other].map(({ appId }) => [appId, []]));
    for (let i = 0; i < 131 + 6; i++) {
      const { appId, sequence } = await watching.event();
      bySequence.get(appId)?.push(Number(sequence));
    }
    const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
    expect([...bySequence.values()]).toEqual([upTo(131), upTo(6)]);
  });

  test("whoever comes back goes on where they were", async () => {
    const { registry, app } = await started();
    const before = new Watching(registry, { apps: [{ appId: app.appId }] });
    await before.heads();
    await change(registry, app, 2);
    expect(await before.sequences(2)).toEqual([1, 2]);
    before.stop();
    await change(registry, app);
    const after = new Watching(registry, { apps: [{ appId: app.appId, sequence: 2n }] });
    await after.heads();
    expect(await after.sequences(2)).toEqual([3, 4]);
  });

  test.for([
    [
      Reason.CURSOR_INVALID,
      "a sequence that is still to come",
      (appId: string) => ({ apps: [{ appId, sequence: 2n }] }),
    ],
    [Reason.CURSOR_INVALID, "a log index that is still to come", () => ({ afterLogIndex: 4n })],
    [
      Reason.CURSOR_INVALID,
      "the greatest of all sequences",
      (appId: string) => ({ apps: [{ appId, sequence: 2n ** 64n - 1n }] }),
    ],
    [Reason.APP_UNKNOWN, "an app that is not registered", () => ({ apps: [{ appId: unknownAppId }] })],
    [
      Reason.APP_UNKNOWN,
      "one app of many that is another registry's",
      (appId: string) => ({ apps: [{ appId }, { appId: appIdElsewhere }] }),
    ],
    [Reason.FIELD_INVALID, "what is no AppID", () => ({ apps: [{ appId: "shop" }] })],
    [
      Reason.FIELD_INVALID,
      "more than 1,000 apps",
      (appId: string) => ({ apps: Array.from({ length: 1001 }, () => ({ appId })) }),
    ],
  ] as const)("refuses $1", async ([reason, , request]) => {
    const { registry, app } = await started();
    await refused(new Watching(registry, request(app.appId)).heads(), reason);
  });

  test("the stream ends with the server, which says why", async () => {
    const { registry, app } = await started();
    const watching = new Watching(registry, { apps: [{ appId: app.appId, sequence: 1n }] });
    await watching.heads();
    const next = refused(watching.event(), Reason.SHUTTING_DOWN);
    await registry.stop();
    await next;
  });

  test("an event reaches all who watch the app", async () => {
    const { registry, app } = await started();
    const many = Array.from(
      { length: 200 },
      () => new Watching(registry, { apps: [{ appId: app.appId, sequence: 1n }] }),
    );
    await Promise.all(many.map((watching) => watching.heads()));
    await change(registry, app, 2);
    const sequences = await Promise.all(many.map((watching) => watching.sequences(2)));
    expect(sequences).toEqual(many.map(() => [2, 3]));
  });

  test("what many get is signed once: an event at its commit, the same heads in one second and state of the log", async () => {
    const key = testKey("registry");
    let signatures = 0;
    const sign = (message: Uint8Array) => {
      signatures++;
      return key.sign(message);
    };
    const { registry, app } = await startWith(protocol, {
      keys: [{ key: { ...key, sign }, notBefore: 0, notAfter: 0 }],
    });
    const many: Watching[] = [];
    /** How many signatures it costs that each of ten more listeners gets its first heads. */
    const tenMore = async () => {
      const before = signatures;
      const more = Array.from(
        { length: 10 },
        () => new Watching(registry, { apps: [{ appId: app.appId, sequence: 1n }] }),
      );
      await Promise.all(more.map((watching) => watching.heads()));
      many.push(...more);
      return signatures - before;
    };
    expect(await tenMore()).toBe(1);
    expect(await tenMore()).toBe(0);
    registry.clock.advance(1);
    expect(await tenMore()).toBe(1);
    await change(registry, app);
    const before = signatures;
    for (const watching of many) expect(await watching.sequences(1)).toEqual([2]);
    expect(signatures).toBe(before);
    expect(await tenMore()).toBe(1);
  });
});

test("an event is on its way before the answer to its write is made", async () => {
  const order: string[] = [];
  const key = testKey("registry");
  const sign = (message: Uint8Array) => {
    order.push("signature");
    return key.sign(message);
  };
  const registry = await startRegistry({ keys: [{ key: { ...key, sign }, notBefore: 0, notAfter: 0 }] });
  const app = await registerTestApp(registry);
  const request = create(WatchRequestSchema, { apps: [{ appId: app.appId, sequence: 1n }] });
  const open = registry.registryPart.readyStreams.get(EventService.method.watch);
  // What is handed to HTTP/2 in one turn of the event loop leaves at its end.
  const wake = () => process.nextTick(() => order.push("event leaves"));
  const stream = open?.(toBinary(WatchRequestSchema, request), wake, new Headers());
  await change(registry, app);
  stream?.close();
  expect(order.slice(-3)).toEqual(["signature", "event leaves", "signature"]);
});
