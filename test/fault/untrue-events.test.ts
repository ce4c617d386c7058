import { expect, test } from "vitest";
import { EventSchema, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { systemRandom } from "../../src/core/random.ts";
import { isRefusal, Reason } from "../../src/core/refusal.ts";
import { generateSigningKey } from "../../src/developer/signing-key.ts";
import { eventSubject } from "../../src/events/nats/subjects.ts";
import { signStatement } from "../../src/statement/statement.ts";
import { countTo, firstSequences, storedEvents, stream, untilForgotten } from "../nats/support/publishing.ts";
import { type NatsFaultMesh, withNatsMesh } from "./support/event-mesh.ts";
import { listenerNames, subscriptionOf, untilAllCurrent } from "./support/listeners.ts";
import { until } from "./support/wait.ts";

// Somebody who may publish into the stream, or change it, does so beside the registry.

/** What all parts counted since their start, by name. */
async function countsOf(mesh: NatsFaultMesh, appId: string) {
  const counts = await Promise.all(listenerNames.map((name) => subscriptionOf(mesh.mesh, name, appId)));
  return counts.map((subscription) => {
    const { applied = 0n, doubled = 0n, early = 0n, forged = 0n, caughtUp = 0n } = subscription?.counts ?? {};
    return {
      applied: Number(applied),
      doubled: Number(doubled),
      early: Number(early),
      forged: Number(forged),
      caughtUp,
    };
  });
}

/** Waits until every part has dealt with all that the stream holds. */
async function untilTaken(mesh: NatsFaultMesh): Promise<void> {
  for (const name of listenerNames) {
    await mesh.untilDelivered(name);
    await mesh.untilAcknowledged(name);
  }
}

test("a foreign publisher takes the IDs of events first: an alarm for each, and every event has its effect", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId } = await mesh.newApp();
    const known = mesh.events(appId).length;
    await mesh.untilStored(known);
    mesh.gates.registry.hold("requests");
    await mesh.rotate(appId, "articles", 5);
    const taken = mesh.events(appId).slice(known);
    await mesh.jetstream(async (_, client) => {
      for (const { id, event } of taken) await client.publish(eventSubject(event), "not the event", { msgID: id });
    });
    mesh.gates.registry.open();
    await until("the events in the stream", async () => {
      const stored = await storedEvents(mesh.nats);
      return firstSequences(stored, appId).length === known + taken.length;
    });
    await untilTaken(mesh);
    const alarms = mesh.mesh.members.registry
      .logLines()
      .filter((line) => line.includes('"alarm":"foreign-message"'))
      .map((line) => JSON.parse(line).messageId);
    expect(new Set(alarms)).toEqual(new Set(taken.map(({ id }) => id)));
    expect(firstSequences(await storedEvents(mesh.nats), appId)).toEqual(countTo(known + taken.length));
    await mesh.expectAgreement();
  });
});

test("events that come in reverse, each twice, before the registry publishes them, have their effects once and in order", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId } = await mesh.newApp();
    const known = mesh.events(appId).length;
    await mesh.untilStored(known);
    await untilTaken(mesh);
    const before = await countsOf(mesh, appId);
    mesh.gates.registry.hold("requests");
    await mesh.rotate(appId, "articles", 10);
    await mesh.developer.suspend({ appId, serviceId: "journal" });
    const events = mesh.events(appId).slice(known);
    const twice = events
      .toReversed()
      .flatMap((event, index) => [1, 2].map((copy) => ({ ...event, messageId: `${index} ${copy}` })));
    await mesh.publish(twice);
    mesh.gates.registry.open();
    await mesh.untilStored(known + 3 * events.length);
    await untilTaken(mesh);
    for (const [index, counts] of (await countsOf(mesh, appId)).entries()) {
      const { applied = 0, doubled = 0, early = 0 } = before[index] ?? {};
      expect(counts.applied - applied, listenerNames[index]).toBe(events.length);
      // Each came three times. Some, or all, had been caught up with before.
      const took = counts.doubled - doubled + (counts.early - early);
      expect(took, listenerNames[index]).toBeGreaterThanOrEqual(2 * events.length);
    }
    await mesh.expectAgreement();
  });
});

test("all events once more, when NATS has forgotten that it has them: nothing happens twice", async () => {
  await withNatsMesh(
    async (mesh) => {
      const { appId } = await mesh.newApp();
      await mesh.rotate(appId, "articles", 10);
      await mesh.developer.unbindService({ appId, serviceId: "journal" });
      await untilAllCurrent(mesh.mesh, [appId]);
      const events = mesh.events(appId);
      await mesh.untilStored(events.length);
      await untilForgotten(mesh.nats);
      const before = await countsOf(mesh, appId);
      const stored = await mesh.stored();
      await mesh.publish(events.map((event) => ({ ...event, messageId: event.id })));
      expect(await mesh.stored()).toBe(stored + events.length);
      await untilTaken(mesh);
      for (const [index, counts] of (await countsOf(mesh, appId)).entries()) {
        expect(counts.applied, listenerNames[index]).toBe(before[index]?.applied);
        const doubled = counts.doubled - (before[index]?.doubled ?? 0);
        expect(doubled, listenerNames[index]).toBeGreaterThanOrEqual(events.length);
      }
      await mesh.expectAgreement();
    },
    { duplicateWindowSeconds: 1 },
  );
});

test("the last event is lost and nothing comes after it: the heads tell of it", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId } = await mesh.newApp();
    const known = mesh.events(appId).length;
    await mesh.untilStored(known);
    await untilTaken(mesh);
    const before = await countsOf(mesh, appId);
    // Nobody is given anything until the event is gone.
    await mesh.filterConsumers("omi.v1.omi-registry_test.nothing");
    await mesh.developer.suspend({ appId, serviceId: "journal" });
    await mesh.untilStored(known + 1);
    await mesh.jetstream(async (manager) => {
      const { state } = await manager.streams.info(stream);
      await manager.streams.deleteMessage(stream, state.last_seq);
    });
    await mesh.filterConsumers("omi.v1.omi-registry_test.>");
    await untilAllCurrent(mesh.mesh, [appId]);
    for (const [index, counts] of (await countsOf(mesh, appId)).entries()) {
      expect(counts.caughtUp, listenerNames[index]).toBe((before[index]?.caughtUp ?? 0n) + 1n);
      expect(counts.doubled, listenerNames[index]).toBe(before[index]?.doubled);
    }
    await mesh.expectAgreement();
  });
});

test("events that are forged, or signed by nobody, change nothing", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId, write } = await mesh.newApp();
    const events = mesh.events(appId);
    await mesh.untilStored(events.length);
    await untilTaken(mesh);
    const before = await countsOf(mesh, appId);
    const bound = events.find(({ event }) => event.event === EventType.SERVICE_BOUND && event.serviceId === "articles");
    if (bound === undefined) throw new Error("articles is not bound");
    const purge = {
      ...bound.event,
      event: EventType.PURGE,
      newPublicKey: new Uint8Array(),
      sequence: BigInt(events.length + 1),
    };
    const byStranger = signStatement(EventSchema, purge, generateSigningKey(systemRandom));
    const forged = [
      byStranger,
      { ...byStranger, signature: new Uint8Array() },
      { ...byStranger, signature: new Uint8Array(64) },
      { ...byStranger, signature: bound.statement.signature },
      signStatement(EventSchema, { ...purge, origin: "other-registry.test" }, generateSigningKey(systemRandom)),
    ];
    await mesh.publish(forged.map((statement, index) => ({ statement, event: purge, messageId: `forged ${index}` })));
    await mesh.jetstream(async (_, client) => void (await client.publish(eventSubject(purge), new Uint8Array([1]))));
    await untilTaken(mesh);
    for (const [index, counts] of (await countsOf(mesh, appId)).entries()) {
      expect(counts.applied, listenerNames[index]).toBe(before[index]?.applied);
      expect(counts.forged, listenerNames[index]).toBeGreaterThanOrEqual(forged.length);
    }
    await write();
    // The one that really has this sequence is not kept out.
    await mesh.rotate(appId, "articles");
    await mesh.expectAgreement();
  });
});

test("a KEY_ROTATION that comes after the PURGE revives nothing", async () => {
  await withNatsMesh(async (mesh) => {
    const { appId, write } = await mesh.newApp();
    await mesh.rotate(appId, "articles", 2);
    await write();
    await mesh.developer.unbindService({ appId, serviceId: "articles" });
    await untilAllCurrent(mesh.mesh, [appId]);
    const events = mesh.events(appId);
    await mesh.untilStored(events.length);
    const rotations = events.filter(({ event }) => event.event === EventType.KEY_ROTATION);
    expect(rotations).toHaveLength(2);
    await mesh.publish(rotations.map((event, index) => ({ ...event, messageId: `again ${index}` })));
    await untilTaken(mesh);
    await expect(write()).rejects.toSatisfy((error) => isRefusal(error, Reason.SERVICE_REVOKED));
    await expect(mesh.rotate(appId, "articles")).rejects.toSatisfy((error) => isRefusal(error));
    await mesh.expectAgreement();
  });
});
