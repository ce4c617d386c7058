import { expect, onTestFinished, test, vi } from "vitest";
import { EventSchema, HeadsSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { systemRandom } from "../../src/core/random.ts";
import type { CarriedMessage, CarrierConnection } from "../../src/events/carrier.ts";
import { createWatchCarrier } from "../../src/events/watch-carrier.ts";
import { Log } from "../../src/log/log.ts";
import { openAnswer } from "../../src/statement/statement.ts";
import { LiveClock } from "../nats/support/live-clock.ts";
import { bindTestService, registerTestApp, rotateTestService } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { type RunningRegistry, startRegistry } from "../support/registry.ts";
import { logger, wayTo } from "../tenancy/support.ts";
import { countTo, startSwitch } from "./support.ts";

/** Opens a carrier; keeps what it brings. */
function openCarrier(
  registry: RunningRegistry,
  { url = registry.url, receive = async () => {} }: { url?: string; receive?: () => Promise<void> } = {},
) {
  const heard: string[] = [];
  let heads = 0;
  let connected = 0;
  const carrier = createWatchCarrier({
    registries: wayTo(registry, url),
    clock: registry.clock,
    random: systemRandom,
    logger,
  });
  const connection: CarrierConnection = carrier.open({
    async receive(message: CarriedMessage) {
      if ("heads" in message) {
        expect(openAnswer(HeadsSchema, message.heads).message.apps.length).toBeGreaterThan(0);
        heads++;
        return;
      }
      const { appId, sequence } = openAnswer(EventSchema, message.event).message;
      heard.push(`${appId} ${sequence}`);
      await receive();
    },
    connected() {
      connected++;
    },
  });
  onTestFinished(() => connection.close());
  return { connection, heard, heads: () => heads, connected: () => connected };
}

function sequences(appId: string, from: number, to: number): string[] {
  return countTo(to)
    .slice(from - 1)
    .map((sequence) => `${appId} ${sequence}`);
}

test("events of all apps come by one stream, from where each left off, and heads with them", async () => {
  const registry = await startRegistry({ clock: new LiveClock() });
  const apps = [await registerTestApp(registry), await registerTestApp(registry)] as const;
  for (const app of apps) await bindTestService(registry, app);
  const watched = openCarrier(registry);
  watched.connection.add(apps[0].appId, 0n);
  watched.connection.add(apps[1].appId, 1n);
  await vi.waitFor(() => expect(watched.heard).toHaveLength(3));
  expect(watched.heard).toEqual(expect.arrayContaining([...sequences(apps[0].appId, 1, 2), `${apps[1].appId} 2`]));
  expect(watched.heads()).toBe(1);
  expect(watched.connected()).toBe(1);
});

test("apps come and go without the others losing anything", async () => {
  const registry = await startRegistry({ clock: new LiveClock() });
  const [first, second] = [await registerTestApp(registry), await registerTestApp(registry)];
  const watched = openCarrier(registry);
  watched.connection.add(first.appId, 0n);
  await vi.waitFor(() => expect(watched.heard).toEqual([`${first.appId} 1`]));
  watched.connection.add(second.appId, 0n);
  await vi.waitFor(() => expect(watched.heard).toEqual([`${first.appId} 1`, `${second.appId} 1`]));
  watched.connection.remove(first.appId);
  await vi.waitFor(() => expect(watched.connected()).toBe(3));
  await bindTestService(registry, first);
  await bindTestService(registry, second);
  await vi.waitFor(() => expect(watched.heard.at(-1)).toBe(`${second.appId} 2`));
  expect(watched.heard).toHaveLength(3);
});

test("a registry that comes back is listened to again, from the last event on", async () => {
  const clock = new LiveClock();
  const databaseFile = `${temporaryFolder()}/registry.db`;
  const way = await startSwitch();
  const first = await startRegistry({ clock, databaseFile });
  way.leadTo(first.url);
  const app = await registerTestApp(first);
  const watched = openCarrier(first, { url: way.url });
  watched.connection.add(app.appId, 0n);
  await vi.waitFor(() => expect(watched.heard).toEqual([`${app.appId} 1`]));
  await first.stop();
  const second = await startRegistry({ clock, databaseFile });
  await bindTestService(second, app);
  way.leadTo(second.url);
  await vi.waitFor(() => expect(watched.heard).toEqual(sequences(app.appId, 1, 2)), { timeout: 10_000 });
  expect(watched.connected()).toBeGreaterThan(1);
});

test("an app that the registry does not know, or not that far, keeps no other from being watched", async () => {
  const registry = await startRegistry({ clock: new LiveClock() });
  const [app, ahead] = [await registerTestApp(registry), await registerTestApp(registry)];
  const watched = openCarrier(registry);
  watched.connection.add(ahead.appId, 99n);
  watched.connection.add(`${app.appId.slice(0, -6)}000000`, 0n);
  watched.connection.add(app.appId, 0n);
  await vi.waitFor(() => expect(watched.heard).toEqual([`${app.appId} 1`]));
});

test("nothing is handed over after the end", async () => {
  const registry = await startRegistry({ clock: new LiveClock() });
  const app = await registerTestApp(registry);
  const other = openCarrier(registry);
  const watched = openCarrier(registry);
  for (const { connection } of [watched, other]) connection.add(app.appId, 0n);
  await vi.waitFor(() => expect(watched.heard).toHaveLength(1));
  await watched.connection.close();
  await bindTestService(registry, app);
  await vi.waitFor(() => expect(other.heard).toHaveLength(2));
  expect(watched.heard).toHaveLength(1);
});

test("for a listener that takes nothing the registry reads no more than fits on the way, and it misses nothing", async () => {
  const read = vi.spyOn(Log.prototype, "eventsOfApp");
  onTestFinished(() => read.mockRestore());
  const registry = await startRegistry({ clock: new LiveClock() });
  const app = await registerTestApp(registry);
  const gate = Promise.withResolvers<void>();
  const watched = openCarrier(registry, { receive: () => gate.promise });
  watched.connection.add(app.appId, 0n);
  await vi.waitFor(() => expect(watched.heard).toHaveLength(1));
  let service = await bindTestService(registry, app);
  const rotate = async (times: number) => {
    for (let round = 0; round < times; round++)
      service = await rotateTestService(registry, service, { immediate: true });
  };
  const rows = () => read.mock.results.reduce((sum, { value }) => sum + (Array.isArray(value) ? value.length : 0), 0);
  await rotate(750);
  // The windows of HTTP/2 are full: what comes now stays in the log.
  const before = rows();
  expect(before).toBeLessThan(750);
  await rotate(98);
  expect(rows()).toBe(before);
  expect(watched.heard).toHaveLength(1);
  gate.resolve();
  await vi.waitFor(() => expect(watched.heard).toEqual(sequences(app.appId, 1, 850)), { timeout: 10_000 });
}, 60_000);
