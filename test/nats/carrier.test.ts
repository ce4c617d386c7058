import { toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { eventsOf, listen } from "../events/support.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  type TestService,
} from "../support/developer.ts";
import { type RunningRegistry, startRegistry } from "../support/registry.ts";
import { carrierFrom, consumer, openEar } from "./support/listening.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats, type TestNats } from "./support/nats-server.ts";
import { bareConnection, countTo, publisherTo, stream, untilPublished } from "./support/publishing.ts";

const patient = { timeout: 60_000, interval: 20 };

/** A registry that publishes, and a service at sequence 2 of its app. */
async function startPublishing(): Promise<{ nats: TestNats; registry: RunningRegistry; service: TestService }> {
  const nats = await startNats();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats) });
  const service = await bindTestService(registry, await registerTestApp(registry));
  await untilPublished(registry);
  return { nats, registry, service };
}

async function rotate(registry: RunningRegistry, service: TestService, times: number): Promise<TestService> {
  let rotated = service;
  for (let number = 0; number < times; number++) {
    rotated = await rotateTestService(registry, rotated, { immediate: true });
  }
  return rotated;
}

async function consumerInfo(nats: TestNats) {
  const manager = await (await bareConnection(nats)).jetstreamManager();
  return manager.consumers.info(stream, consumer);
}

test("brings the events of the apps that are listened to, in order, and no others", async () => {
  const { nats, registry, service } = await startPublishing();
  const other = await registerTestApp(registry);
  const { appId } = service.app;
  const ear = openEar(carrierFrom(nats), [appId]);
  await expect.poll(ear.connected, patient).toBe(1);
  await rotate(registry, service, 5);
  await bindTestService(registry, other);
  await expect.poll(() => ear.heard, patient).toEqual([3, 4, 5, 6, 7].map((sequence) => `${appId} ${sequence}`));

  ear.connection.add(other.appId, 2n);
  await bindTestService(registry, other, "other-1");
  await expect.poll(() => ear.heard.at(-1), patient).toBe(`${other.appId} 3`);
  await expect.poll(async () => (await consumerInfo(nats)).num_ack_pending, patient).toBe(0);
});

test("acknowledges an event when it was taken, and not before", async () => {
  const { nats, registry, service } = await startPublishing();
  let take = () => {};
  const taken = new Promise<void>((resolve) => {
    take = resolve;
  });
  const ear = openEar(carrierFrom(nats), [service.app.appId], () => taken);
  await expect.poll(ear.connected, patient).toBe(1);
  await rotate(registry, service, 1);
  await expect.poll(() => ear.heard, patient).toHaveLength(1);
  expect((await consumerInfo(nats)).num_ack_pending).toBe(1);
  take();
  await expect.poll(async () => (await consumerInfo(nats)).num_ack_pending, patient).toBe(0);
});

test("an event that could not be taken comes again", async () => {
  const { nats, registry, service } = await startPublishing();
  const ear = openEar(carrierFrom(nats), [service.app.appId], async () => {
    if (ear.heard.length === 1) throw new Error("the disk is full");
  });
  await expect.poll(ear.connected, patient).toBe(1);
  await rotate(registry, service, 1);
  const event = `${service.app.appId} 3`;
  await expect.poll(() => ear.heard, patient).toEqual([event, event]);
  await expect.poll(async () => (await consumerInfo(nats)).num_ack_pending, patient).toBe(0);
});

test("what was published while nobody listened comes afterwards", async () => {
  const { nats, registry, service } = await startPublishing();
  const first = openEar(carrierFrom(nats), [service.app.appId]);
  await expect.poll(first.connected, patient).toBe(1);
  await first.connection.close();
  await rotate(registry, service, 3);
  const second = openEar(carrierFrom(nats), [service.app.appId]);
  await expect.poll(() => second.heard, patient).toHaveLength(3);
  expect(first.heard).toEqual([]);
});

test("a message that is no event is dropped, and hides none", async () => {
  const { nats, registry, service } = await startPublishing();
  const ear = openEar(carrierFrom(nats), [service.app.appId]);
  await expect.poll(ear.connected, patient).toBe(1);
  const jetstream = (await bareConnection(nats)).jetstream();
  await jetstream.publish("omi.v1.omi-registry_test.alice.shop_0a1b2c.purge", "no event");
  await jetstream.publish("omi.v1.omi-registry_test.alice.shop_0a1b2c.purge", new Uint8Array());
  await rotate(registry, service, 1);
  await expect.poll(() => ear.heard, patient).toEqual([`${service.app.appId} 3`]);
  await expect.poll(async () => (await consumerInfo(nats)).num_ack_pending, patient).toBe(0);
});

test("an event that nobody signed is counted as forged by the part that gets it", async () => {
  const { nats, registry, service } = await startPublishing();
  const { appId } = service.app;
  const part = await listen(registry, [appId], { carrier: carrierFrom(nats) });
  await expect.poll(() => part.sequencesOf(appId), patient).toEqual([1, 2]);
  await expect.poll(async () => (await consumerInfo(nats).catch(() => undefined))?.num_waiting, patient).toBe(1);
  const [event] = await eventsOf(registry, appId);
  const unsigned = toBinary(StatementSchema, { ...present(event), signature: new Uint8Array() });
  const jetstream = (await bareConnection(nats)).jetstream();
  await jetstream.publish("omi.v1.omi-registry_test.alice.shop_0a1b2c.purge", unsigned);
  await rotate(registry, service, 1);
  await expect.poll(() => part.sequencesOf(appId), patient).toEqual([1, 2, 3]);
  expect(part.status(appId).counts).toMatchObject({ forged: 1n });
});

test("an app that is removed is not heard of any more", async () => {
  const { nats, registry, service } = await startPublishing();
  const other = await registerTestApp(registry);
  const ear = openEar(carrierFrom(nats), [service.app.appId, other.appId]);
  await expect.poll(ear.connected, patient).toBe(1);
  ear.connection.remove(service.app.appId);
  await rotate(registry, service, 2);
  await bindTestService(registry, other);
  await expect.poll(() => ear.heard, patient).toEqual([`${other.appId} 2`]);
});

test("NATS restarts, loses its data, and the consumer is deleted: the carrier comes back every time and says so", async () => {
  const { nats, registry, service } = await startPublishing();
  const ear = openEar(carrierFrom(nats), [service.app.appId]);
  await expect.poll(ear.connected, patient).toBe(1);

  await nats.kill();
  await nats.start();
  await expect.poll(ear.connected, patient).toBe(2);
  let rotated = await rotate(registry, service, 1);
  await expect.poll(() => ear.heard.at(-1), patient).toBe(`${service.app.appId} 3`);

  await nats.kill();
  nats.wipe();
  await nats.start();
  await expect.poll(ear.connected, patient).toBe(3);
  rotated = await rotate(registry, rotated, 1);
  await expect.poll(() => ear.heard, patient).toContain(`${service.app.appId} 4`);

  const manager = await (await bareConnection(nats)).jetstreamManager();
  await manager.consumers.delete(stream, consumer);
  await expect.poll(ear.connected, patient).toBe(4);
  await rotate(registry, rotated, 1);
  await expect.poll(() => ear.heard, patient).toContain(`${service.app.appId} 5`);
});

test("a subscriber behind it applies 1,000 events once and in order while NATS is killed again and again", async () => {
  const { nats, registry, service } = await startPublishing();
  const { appId } = service.app;
  const part = await listen(registry, [appId], { carrier: carrierFrom(nats) });
  let rotated = service;
  for (let round = 0; round < 5; round++) {
    rotated = await rotate(registry, rotated, 100);
    await nats.kill();
    rotated = await rotate(registry, rotated, 100);
    await nats.start();
  }
  await expect.poll(() => part.sequencesOf(appId).length, patient).toBe(1002);
  expect(part.sequencesOf(appId)).toEqual(countTo(1002));
  await untilPublished(registry);
});

test("without NATS a subscriber finds by the heads what it misses", async () => {
  const { nats, registry, service } = await startPublishing();
  await nats.kill();
  const part = await listen(registry, [service.app.appId], { carrier: carrierFrom(nats) });
  await expect.poll(() => part.sequencesOf(service.app.appId), patient).toEqual([1, 2]);
  await rotate(registry, service, 3);
  await expect.poll(() => part.sequencesOf(service.app.appId), patient).toEqual(countTo(5));
});
