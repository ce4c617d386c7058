import { expect, test } from "vitest";
import { bindTestService, registerTestApp, rotateTestService } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats } from "./support/nats-server.ts";
import {
  bareConnection,
  countTo,
  firstSequences,
  publisherTo,
  storedEvents,
  stream,
  untilPublished,
} from "./support/publishing.ts";
import { startStallingProxy } from "./support/stalling-proxy.ts";

const immediate = { immediate: true };

test("NATS is killed and comes back, again and again, during 1,000 rotations", async () => {
  const nats = await startNats();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats) });
  const app = await registerTestApp(registry);
  let service = await bindTestService(registry, app);
  for (let number = 0; number < 1000; number++) {
    if (number % 200 === 50) await nats.kill();
    if (number % 200 === 100) await nats.start();
    service = await rotateTestService(registry, service, immediate);
  }
  await untilPublished(registry);
  expect(firstSequences(await storedEvents(nats), app.appId)).toEqual(countTo(1002));
});

test("the network to NATS swallows everything: the registry connects anew", async () => {
  const nats = await startNats();
  const proxy = await startStallingProxy(nats.port);
  const publisher = publisherTo(nats, { servers: [proxy.address] });
  const registry = await startRegistry({ clock: new LiveClock(), publisher });
  const app = await registerTestApp(registry);
  await untilPublished(registry);
  proxy.stall();
  await bindTestService(registry, app);
  await untilPublished(registry);
  expect(firstSequences(await storedEvents(nats), app.appId)).toEqual(countTo(2));
});

test("NATS loses all its data while the registry runs: the stream is made again from the log", async () => {
  const nats = await startNats();
  const registry = await startRegistry({ clock: new LiveClock(), publisher: publisherTo(nats) });
  const app = await registerTestApp(registry);
  const service = await bindTestService(registry, app);
  await untilPublished(registry);
  await nats.kill();
  nats.wipe();
  await nats.start();
  await rotateTestService(registry, service);
  await untilPublished(registry);
  await expect
    .poll(async () => firstSequences(await storedEvents(nats).catch(() => []), app.appId), { timeout: 30_000 })
    .toEqual(countTo(3));
});

test("NATS loses its data while the registry is stopped", async () => {
  const nats = await startNats();
  const options = {
    clock: new LiveClock(),
    databaseFile: `${temporaryFolder()}/registry.db`,
    publisher: publisherTo(nats),
  };
  const first = await startRegistry(options);
  const app = await registerTestApp(first);
  await bindTestService(first, app);
  await untilPublished(first);
  await first.stop();
  const manager = await (await bareConnection(nats)).jetstreamManager();
  await manager.streams.delete(stream);

  await startRegistry(options);
  await expect
    .poll(async () => firstSequences(await storedEvents(nats).catch(() => []), app.appId), { timeout: 30_000 })
    .toEqual(countTo(2));
});

test("a stream whose newest messages are gone gets them again", async () => {
  const nats = await startNats();
  const options = {
    clock: new LiveClock(),
    databaseFile: `${temporaryFolder()}/registry.db`,
    publisher: publisherTo(nats),
  };
  const first = await startRegistry(options);
  const app = await registerTestApp(first);
  let service = await bindTestService(first, app);
  for (let number = 0; number < 10; number++) service = await rotateTestService(first, service, immediate);
  await untilPublished(first);
  await first.stop();
  const manager = await (await bareConnection(nats)).jetstreamManager();
  for (const seq of [9, 10, 11, 12]) await manager.streams.deleteMessage(stream, seq);

  await startRegistry(options);
  await expect
    .poll(async () => firstSequences(await storedEvents(nats), app.appId), { timeout: 30_000 })
    .toEqual(countTo(12));
});

test("events that are older than the stream keeps them are not published again", async () => {
  const nats = await startNats();
  const clock = new LiveClock();
  const options = {
    clock,
    databaseFile: `${temporaryFolder()}/registry.db`,
    publisher: publisherTo(nats, { stream: { maxAgeSeconds: 3600 } }),
  };
  const registry = await startRegistry(options);
  const app = await registerTestApp(registry);
  clock.advance(4000);
  await bindTestService(registry, app);
  await untilPublished(registry);
  await registry.stop();
  await nats.kill();
  nats.wipe();
  await nats.start();
  await startRegistry(options);
  await expect
    .poll(async () => firstSequences(await storedEvents(nats).catch(() => []), app.appId), { timeout: 30_000 })
    .toEqual([2]);
});
