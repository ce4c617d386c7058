import { DiscardPolicy, RetentionPolicy, StorageType } from "nats";
import { expect, test } from "vitest";
import { SetupError } from "../../src/events/setup-error.ts";
import { bindTestService, registerTestApp, rotateTestService, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats } from "./support/nats-server.ts";
import {
  bareConnection,
  countTo,
  firstSequences,
  publisherTo,
  shortMemory,
  storedEvents,
  stream,
  untilForgotten,
  untilPublished,
} from "./support/publishing.ts";

const immediate = { immediate: true };

test("every change is one event in the stream, under its subject and its Statement ID", async () => {
  const nats = await startNats();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats) });
  const app = await registerTestApp(registry);
  const service = await rotateTestService(registry, await bindTestService(registry, app));
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
  await untilPublished(registry);

  const events = await storedEvents(nats);
  const prefix = `omi.v1.omi-registry_test.${app.namespace}.shop_${app.appId.slice(-6)}`;
  expect(events.map(({ subject }) => subject)).toEqual([
    `${prefix}.app_registered`,
    `${prefix}.service_bound`,
    `${prefix}.key_rotation`,
    `${prefix}.purge`,
  ]);
  expect(firstSequences(events, app.appId)).toEqual(countTo(4));
  expect(events.map(({ messageId }) => messageId)).toEqual(events.map(({ id }) => id));
});

test("a registry that was stopped goes on where it was", async () => {
  const nats = await startNats();
  const databaseFile = `${temporaryFolder()}/registry.db`;
  const publisher = publisherTo(nats, { stream: shortMemory });
  const options = { clock: new LiveClock(), databaseFile, publisher };
  const first = await startRegistry(options);
  const app = await registerTestApp(first);
  await untilPublished(first);
  await first.stop();
  await untilForgotten(nats);

  const second = await startRegistry(options);
  await bindTestService(second, app);
  await untilPublished(second);
  expect((await storedEvents(nats)).map(({ event }) => Number(event.sequence))).toEqual([1, 2]);
});

test("without NATS a registry works; what happened meanwhile is published when NATS is there", async () => {
  const nats = await startNats();
  await nats.kill();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats) });
  const app = await registerTestApp(registry);
  let service = await bindTestService(registry, app);
  for (let number = 0; number < 20; number++) service = await rotateTestService(registry, service, immediate);
  expect(registry.registryPart.publishedIndex()).toBe(0);
  await nats.start();
  await untilPublished(registry);
  expect(firstSequences(await storedEvents(nats), app.appId)).toEqual(countTo(22));
});

test("the stream is made as configured, and follows the configuration", async () => {
  const nats = await startNats();
  const connect = async (settings: Parameters<typeof publisherTo>[1]) => {
    const session = await publisherTo(nats, settings).connect(new AbortController().signal);
    await session.close();
  };
  await connect({ stream: { maxAgeSeconds: 3600, duplicateWindowSeconds: 60 } });
  const manager = await (await bareConnection(nats)).jetstreamManager();
  const { config, created } = await manager.streams.info(stream);
  expect(config).toMatchObject({
    subjects: ["omi.v1.omi-registry_test.>"],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.Old,
    max_age: 3600e9,
    duplicate_window: 60e9,
    num_replicas: 1,
  });

  await connect({ stream: { maxAgeSeconds: 7200, duplicateWindowSeconds: 60 } });
  const after = await manager.streams.info(stream);
  expect(after.config).toMatchObject({ max_age: 7200e9, duplicate_window: 60e9 });
  expect(after.created).toBe(created);
});

test.each([
  ["in memory", { storage: StorageType.Memory }],
  ["for other subjects too", { subjects: ["omi.v1.omi-registry_test.>", "others.>"] }],
  ["as a work queue", { retention: RetentionPolicy.Workqueue }],
  ["without acknowledgements", { no_ack: true }],
])("a stream of that name that is set up %s is refused and left alone", async (_, config) => {
  const nats = await startNats();
  const manager = await (await bareConnection(nats)).jetstreamManager();
  await manager.streams.add({ name: stream, subjects: ["omi.v1.omi-registry_test.>"], ...config });
  const before = await manager.streams.info(stream);
  await expect(publisherTo(nats).connect(new AbortController().signal)).rejects.toBeInstanceOf(SetupError);
  expect((await manager.streams.info(stream)).config).toEqual(before.config);
});

test("more replicas than there are servers: an operator must act", async () => {
  const nats = await startNats();
  const connecting = publisherTo(nats, { stream: { replicas: 3 } }).connect(new AbortController().signal);
  await expect(connecting).rejects.toBeInstanceOf(SetupError);
});
