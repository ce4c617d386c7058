import { toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../src/core/bytes.ts";
import { statementId } from "../../src/statement/statement.ts";
import { bindTestService, registerTestApp } from "../support/developer.ts";
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
  testLog,
  untilForgotten,
  untilPublished,
} from "./support/publishing.ts";

// A registry commits while NATS is away; before it can publish, somebody else who may publish does.

async function committedButNotPublished(log = testLog()) {
  const nats = await startNats();
  const databaseFile = `${temporaryFolder()}/registry.db`;
  const clock = new LiveClock();
  const registry = await startRegistry({ clock, databaseFile });
  const app = await registerTestApp(registry);
  await bindTestService(registry, app);
  const { events } = await registry.events.listEvents({ appId: app.appId });
  await registry.stop();
  const publisher = publisherTo(nats, { log });
  await (await publisher.connect(new AbortController().signal)).close();
  const options = { clock, databaseFile, publisher };
  return { nats, app, events, options, log, jetstream: (await bareConnection(nats)).jetstream() };
}

const alarms = (log: ReturnType<typeof testLog>) => log.lines().filter(({ alarm }) => alarm === "foreign-message");

test("somebody took the IDs of events for messages of their own: an alarm, and the events get in", async () => {
  const { nats, app, events, options, log, jetstream } = await committedButNotPublished();
  for (const event of events) {
    await jetstream.publish("omi.v1.omi-registry_test.alice.shop_0a1b2c.purge", "not the event", {
      msgID: toHex(statementId(event)),
    });
  }
  const registry = await startRegistry(options);
  await untilPublished(registry);
  expect(firstSequences(await storedEvents(nats), app.appId)).toEqual(countTo(2));
  expect(alarms(log)).toHaveLength(2);
});

test("the real bytes under another subject count as somebody else's message too", async () => {
  const { nats, app, events, options, log, jetstream } = await committedButNotPublished();
  const [first] = events;
  if (first === undefined) throw new Error("no event");
  const bytes = toBinary(StatementSchema, first);
  await jetstream.publish("omi.v1.omi-registry_test.alice.elsewhere_0a1b2c.purge", bytes, {
    msgID: toHex(statementId(first)),
  });
  const registry = await startRegistry(options);
  await untilPublished(registry);
  const subjects = (await storedEvents(nats)).map(({ subject }) => subject);
  expect(subjects).toContain(`omi.v1.omi-registry_test.${app.namespace}.shop_${app.appId.slice(-6)}.app_registered`);
  expect(alarms(log)).toHaveLength(1);
});

test("a duplicate that is the registry's own event is no alarm", async () => {
  const { nats, app, options, log } = await committedButNotPublished();
  const first = await startRegistry(options);
  await untilPublished(first);
  await first.stop();
  // The stream has both events and remembers their IDs; a registry without a cursor sends them again.
  const again = await startRegistry({ ...options, publisher: { ...options.publisher, name: "without a cursor" } });
  await untilPublished(again);
  const stored = await storedEvents(nats);
  expect(stored.map(({ event }) => Number(event.sequence))).toEqual([1, 2]);
  expect(firstSequences(stored, app.appId)).toEqual([1, 2]);
  expect(alarms(log)).toHaveLength(0);
});

test("beyond the duplicate window an event that is sent again is in the stream twice, and the stream is in order", async () => {
  const nats = await startNats();
  const databaseFile = `${temporaryFolder()}/registry.db`;
  const publisher = publisherTo(nats, { stream: shortMemory });
  const options = { clock: new LiveClock(), databaseFile, publisher };
  const first = await startRegistry(options);
  const app = await registerTestApp(first);
  await bindTestService(first, app);
  await untilPublished(first);
  await first.stop();
  await untilForgotten(nats);
  const second = await startRegistry({ ...options, publisher: { ...publisher, name: "without a cursor" } });
  await untilPublished(second);
  const stored = await storedEvents(nats);
  expect(stored.map(({ event }) => Number(event.sequence))).toEqual([1, 2, 1, 2]);
  expect(firstSequences(stored, app.appId)).toEqual([1, 2]);
});

test("an event that was deleted from the stream within the duplicate window gets in again", async () => {
  const { nats, app, options, log } = await committedButNotPublished();
  const first = await startRegistry(options);
  await untilPublished(first);
  await first.stop();
  const manager = await (await bareConnection(nats)).jetstreamManager();
  await manager.streams.purge(stream);
  const second = await startRegistry({ ...options, publisher: { ...options.publisher, name: "without a cursor" } });
  await untilPublished(second);
  expect(firstSequences(await storedEvents(nats), app.appId)).toEqual([1, 2]);
  expect(alarms(log)).toHaveLength(0);
});
