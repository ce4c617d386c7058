import { describe, expect, test, vi } from "vitest";
import { EventReason, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { SubscriptionState } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createViews } from "../../src/directory/views.ts";
import { connectionsTo, refusalOf } from "../directory/support.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestApp,
  unbindOf,
} from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes, testKey } from "../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../support/registry.ts";
import { wayTo } from "../tenancy/support.ts";
import { carriedHeads, countTo, eventLike, eventsOf, listen, pass, untilAt } from "./support.ts";

/** An app with four events: registered, bound, rotated, rotated. */
async function startBusyApp(): Promise<{ registry: RunningRegistry; app: TestApp; events: Statement[] }> {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  let service = await bindTestService(registry, app);
  for (let round = 0; round < 2; round++) service = await rotateTestService(registry, service, { immediate: true });
  return { registry, app, events: await eventsOf(registry, app.appId) };
}

/** A part that has applied all events of the app so far. */
async function startCurrent() {
  const mesh = await startBusyApp();
  const part = await listen(mesh.registry, [mesh.app.appId]);
  await untilAt(part, mesh.app.appId, 4);
  return { ...mesh, part, service: { app: mesh.app, serviceId: "cms-article-77", key: testKey("nobody") } };
}

describe("at the start", () => {
  test("what happened before is caught up with, without a carrier", async () => {
    const { registry, app } = await startBusyApp();
    const part = await listen(registry, [app.appId]);
    await untilAt(part, app.appId, 4);
    expect(part.sequencesOf(app.appId)).toEqual(countTo(4));
    expect(part.applied.map(({ sequence }) => Number(sequence))).toEqual(countTo(4));
    expect(part.confirmed.get(app.appId)).toBe(4n);
    expect(part.status(app.appId)).toMatchObject({
      appliedSequence: 4n,
      headSequence: 4n,
      headTime: BigInt(registry.clock.seconds()),
      lastEvent: EventType.KEY_ROTATION,
      state: SubscriptionState.CURRENT,
      counts: { applied: 4n, caughtUp: 1n, forged: 0n },
    });
  });

  test("more than a page is caught up with, of several apps, in order", async () => {
    const registry = await startRegistry();
    const apps = [await registerTestApp(registry), await registerTestApp(registry), await registerTestApp(registry)];
    let service = await bindTestService(registry, present(apps[0]));
    for (let round = 0; round < 110; round++) service = await rotateTestService(registry, service, { immediate: true });
    const part = await listen(
      registry,
      apps.map(({ appId }) => appId),
    );
    await untilAt(part, service.app.appId, 112);
    expect(part.sequencesOf(service.app.appId)).toEqual(countTo(112));
    for (const { appId } of apps.slice(1)) {
      await untilAt(part, appId, 1);
      expect(part.sequencesOf(appId)).toEqual([1]);
    }
  });

  test("a part goes on where it stopped", async () => {
    const { registry, app } = await startBusyApp();
    const databaseFile = `${temporaryFolder()}/part.db`;
    const first = await listen(registry, [app.appId], { databaseFile });
    await untilAt(first, app.appId, 4);
    await first.stop();
    await bindTestService(registry, app, "other-1");
    const second = await listen(registry, [app.appId], { databaseFile });
    expect(second.carrier.apps.get(app.appId)).toBe(4n);
    await untilAt(second, app.appId, 5);
    expect(second.sequencesOf(app.appId)).toEqual(countTo(5));
    expect(second.status(app.appId).counts).toMatchObject({ applied: 1n });
  });

  test("an app that is added later is caught up with, one that is removed is left alone", async () => {
    const { registry, app, part } = await startCurrent();
    const other = await registerTestApp(registry);
    part.subscriber.add(other.appId);
    await untilAt(part, other.appId, 1);
    part.subscriber.remove(app.appId);
    expect(part.subscriber.status(app.appId)).toBeUndefined();
    await bindTestService(registry, app, "other-1");
    await part.carrier.bring(...(await eventsOf(registry, app.appId)));
    expect(part.sequencesOf(app.appId)).toEqual(countTo(4));
    part.subscriber.add(app.appId);
    await untilAt(part, app.appId, 5);
    expect(part.sequencesOf(app.appId)).toEqual(countTo(5));
  });
});

describe("events that a carrier brings", () => {
  test("are applied as they come", async () => {
    const { registry, app, part } = await startCurrent();
    await bindTestService(registry, app, "other-1");
    await part.carrier.bring(...(await eventsOf(registry, app.appId)).slice(4));
    expect(part.sequencesOf(app.appId)).toEqual(countTo(5));
    expect(part.status(app.appId).counts).toMatchObject({ applied: 5n, early: 0n, doubled: 0n, caughtUp: 1n });
  });

  test.each([
    ["in reverse", (events: Statement[]) => [...events].reverse()],
    ["each twice", (events: Statement[]) => events.flatMap((event) => [event, event])],
    ["the last one alone", (events: Statement[]) => events.slice(-1)],
    ["the first one last", ([first, ...others]: Statement[]) => [...others, present(first)]],
  ])("are applied once and in order: %s", async (_name, script) => {
    const { registry, app, part } = await startCurrent();
    for (const name of ["other-1", "other-2", "other-3"]) await bindTestService(registry, app, name);
    const events = (await eventsOf(registry, app.appId)).slice(4);
    await part.carrier.bring(...script(events));
    expect(part.sequencesOf(app.appId)).toEqual(countTo(7));
    expect(part.status(app.appId).counts).toMatchObject({ applied: 7n });
  });

  test("all at the same time, more than may wait, are applied once and in order", async () => {
    const { registry, app, part } = await startCurrent();
    let service = await bindTestService(registry, app, "other-1");
    for (let round = 0; round < 80; round++) service = await rotateTestService(registry, service, { immediate: true });
    const events = await eventsOf(registry, app.appId);
    await Promise.all([...events, ...events.reverse()].map((event) => part.carrier.deliver({ event })));
    expect(part.sequencesOf(app.appId)).toEqual(countTo(85));
  });

  test("none at all: a lost event is found by a head, though nothing comes after it", async () => {
    const { registry, app, part } = await startCurrent();
    await bindTestService(registry, app, "other-1");
    await pass(registry, 7);
    await vi.waitFor(() => expect(part.sequencesOf(app.appId)).toEqual(countTo(5)));
    expect(part.status(app.appId)).toMatchObject({ state: SubscriptionState.CURRENT, counts: { caughtUp: 2n } });
  });

  test("none at all: a carrier that is connected again makes it look what was missed", async () => {
    const { registry, app, part } = await startCurrent();
    await bindTestService(registry, app, "other-1");
    registry.clock.advance(1.5);
    part.carrier.reconnect();
    await vi.waitFor(() => expect(part.sequencesOf(app.appId)).toEqual(countTo(5)));
  });

  test("none at all: a carrier that is connected again just when the last look ends makes it look once more", async () => {
    const { registry, app } = await startBusyApp();
    let asked = 0;
    const random = (length: number) => {
      asked++;
      return testBytes(length);
    };
    let onConfirmed = () => {};
    const part = await listen(registry, [app.appId], {
      registries: connectionsTo(registry, {}, { random }).registries,
      onConfirmed: () => onConfirmed(),
    });
    await untilAt(part, app.appId, 4);
    registry.clock.advance(1.5);
    asked = 0;
    onConfirmed = () => {
      onConfirmed = () => {};
      // Two steps later the round is over, and whoever waits for it has not been told.
      Promise.resolve()
        .then(() => {})
        .then(() => part.carrier.reconnect());
    };
    part.carrier.reconnect();
    await vi.waitFor(() => expect(asked).toBe(2));
  });

  test("are dropped if the registry did not sign them as they are", async () => {
    const { registry, app, events, part } = await startCurrent();
    await bindTestService(registry, app, "other-1");
    const event = present((await eventsOf(registry, app.appId))[4]);
    const own = present(events[3]);
    const stranger = testKey("stranger");
    const forged = [
      eventLike(event, {}, stranger),
      { ...event, signature: new Uint8Array(64) },
      { ...event, signature: new Uint8Array() },
      { ...event, data: own.data },
      eventLike(event, { origin: "other-registry.test" }, registry.key),
      { ...event, type: "omi.event.v1.Heads" },
      { ...event, data: new Uint8Array([0xff]) },
    ];
    for (const statement of forged) await part.carrier.bring({ ...event, ...statement });
    expect(part.sequencesOf(app.appId)).toEqual(countTo(4));
    expect(part.status(app.appId).counts).toMatchObject({ forged: BigInt(forged.length), applied: 4n });
    await part.carrier.bring(event);
    expect(part.sequencesOf(app.appId)).toEqual(countTo(5));
  });

  test("are dropped if nobody here listens to their app", async () => {
    const { registry, app, part } = await startCurrent();
    const other = await registerTestApp(registry);
    await part.carrier.bring(...(await eventsOf(registry, other.appId)));
    expect(part.sequencesOf(other.appId)).toEqual([]);
    expect(part.status(app.appId).counts).toMatchObject({ applied: 4n, forged: 0n });
  });

  test("of a kind that this version does not know move the cursor, and make the part look anew", async () => {
    const { registry, app, part } = await startCurrent();
    await bindTestService(registry, app, "other-1");
    const event = present((await eventsOf(registry, app.appId))[4]);
    await part.carrier.bring(eventLike(event, { event: 99 as EventType }, registry.key));
    expect(part.sequencesOf(app.appId)).toEqual(countTo(4));
    expect(part.applied.at(-1)).toMatchObject({ sequence: 5n, event: 99 });
    expect(part.status(app.appId)).toMatchObject({ appliedSequence: 5n, counts: { applied: 5n, unknown: 1n } });
  });

  test("a rotation that comes after the end of a service comes too late", async () => {
    const { registry, app, part, service } = await startCurrent();
    await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
    const events = await eventsOf(registry, app.appId);
    await part.carrier.bring(present(events[4]), present(events[3]), present(events[2]));
    expect(part.effects().at(-1)).toMatchObject({ sequence: 5, event: EventType.PURGE });
    expect(part.status(app.appId).counts).toMatchObject({ doubled: 2n });
  });

  test("an effect that fails leaves its event unapplied; the next head brings it again", async () => {
    const { registry, app } = await startBusyApp();
    let broken = true;
    const part = await listen(registry, [app.appId], {
      onApply({ sequence }) {
        if (broken && sequence === 3n) throw new Error("not now");
      },
    });
    await vi.waitFor(() => expect(part.sequencesOf(app.appId)).toEqual([1, 2]));
    expect((await refusalOf(part.subscriber.currentSequence(app.appId))).reason).toBe(Reason.VIEW_STALE);
    broken = false;
    await pass(registry, 7);
    await untilAt(part, app.appId, 4);
    expect(part.sequencesOf(app.appId)).toEqual(countTo(4));
  });
});

describe("what is known of an app", () => {
  test("may be gone by for as long as signed heads come", async () => {
    const { registry, app, part } = await startCurrent();
    part.subscriber.assertCurrent(app.appId);
    await registry.stop();
    registry.clock.advance(9.9);
    part.subscriber.assertCurrent(app.appId);
    registry.clock.advance(0.1);
    const refusal = await refusalOf(() => part.subscriber.assertCurrent(app.appId));
    expect(refusal).toMatchObject({ reason: Reason.VIEW_STALE, metadata: { age_seconds: "10" } });
    expect(part.status(app.appId).state).toBe(SubscriptionState.STALE);
  });

  test("may be gone by again with the next head that is asked for when the clock was set back", async () => {
    const { registry, app } = await startBusyApp();
    let aheadMs = 60_000;
    const clock = {
      now: () => registry.clock.now() + aheadMs,
      setTimer: registry.clock.setTimer.bind(registry.clock),
    };
    const part = await listen(registry, [app.appId], { clock });
    await untilAt(part, app.appId, 4);
    const earlier = await carriedHeads(registry, app.appId, 4n);
    aheadMs = 0;
    expect(part.status(app.appId).state).toBe(SubscriptionState.STALE);
    await part.carrier.deliver({ heads: earlier });
    expect(part.status(app.appId).state).toBe(SubscriptionState.STALE);
    await untilAt(part, app.appId, 4);
    expect(part.status(app.appId).state).toBe(SubscriptionState.CURRENT);
  });

  test("may not be gone by before the first head, nor for an app that is not listened to", async () => {
    const { registry, app, part } = await startCurrent();
    const other = await registerTestApp(registry);
    expect((await refusalOf(() => part.subscriber.assertCurrent(other.appId))).reason).toBe(Reason.VIEW_STALE);
    const blind = await listen(registry, [app.appId], { registries: wayTo(registry, "http://127.0.0.1:9") });
    expect((await refusalOf(() => blind.subscriber.assertCurrent(app.appId))).reason).toBe(Reason.VIEW_STALE);
    const refusal = await refusalOf(blind.subscriber.currentSequence(app.appId));
    expect(refusal.reason).toBe(Reason.REGISTRY_UNAVAILABLE);
  });

  test("is confirmed by heads that the carrier brings, so that none are asked for", async () => {
    const { registry, app, part } = await startCurrent();
    registry.clock.advance(4);
    const heads = await carriedHeads(registry, app.appId, 4n);
    const { data } = heads;
    await part.carrier.deliver({ heads });
    expect(part.status(app.appId).headTime).toBe(BigInt(registry.clock.seconds()));
    await part.carrier.deliver({ heads: { ...heads, data: data.subarray(1) } });
    await part.carrier.deliver({ heads: { ...heads, signature: new Uint8Array(64) } });
    expect(part.status(app.appId).counts).toMatchObject({ forged: 2n });
  });

  test("one app's trouble does not stop another", async () => {
    const registry = await startRegistry();
    const [bad, good] = [await registerTestApp(registry), await registerTestApp(registry)];
    const part = await listen(registry, [bad.appId, good.appId], {
      onApply({ appId }) {
        if (appId === bad.appId) throw new Error("broken for ever");
      },
    });
    await untilAt(part, good.appId, 1);
    await bindTestService(registry, good);
    await pass(registry, 7);
    await untilAt(part, good.appId, 2);
    expect(part.sequencesOf(bad.appId)).toEqual([]);
  });
});

describe("views of a part that listens", () => {
  async function startViews() {
    const mesh = await startCurrent();
    const { registries } = connectionsTo(mesh.registry);
    const views = createViews({ registries, clock: mesh.registry.clock });
    views.follow(mesh.part.subscriber);
    return { ...mesh, views, client: registries.forApp(mesh.app.appId) };
  }

  test("hold without being read while heads confirm them, and end with the event of a change", async () => {
    const { registry, app, part, service, views } = await startViews();
    const first = await views.service(app.appId, service.serviceId);
    for (let passed = 0; passed < 60; passed += 5) {
      registry.clock.advance(5);
      await part.subscriber.currentSequence(app.appId);
    }
    expect(await views.service(app.appId, service.serviceId)).toBe(first);
    await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
    await part.carrier.bring(...(await eventsOf(registry, app.appId)).slice(-1));
    expect(part.applied.at(-1)?.reason).toBe(EventReason.MASTER_RESET);
    expect((await views.service(app.appId, service.serviceId)).status).toBe(ServiceStatus.SUSPENDED);
  });

  test("are refused when no heads come", async () => {
    const { registry, app, views } = await startViews();
    await views.app(app.appId);
    await registry.stop();
    registry.clock.advance(9);
    await views.app(app.appId);
    registry.clock.advance(1);
    expect((await refusalOf(views.app(app.appId))).reason).toBe(Reason.VIEW_STALE);
  });

  test("of an app that nobody listens to are read as ever", async () => {
    const { registry, views } = await startViews();
    const other = await registerTestApp(registry);
    expect((await views.app(other.appId)).masterKeyId).toBe(other.master.keyId);
  });
});

test("an event that can't be told from one of another history is not applied, and nothing is believed meanwhile", async () => {
  const { registry, app, part, service } = await startCurrent();
  const { appId } = app;
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  const event = present((await eventsOf(registry, appId)).at(-1));
  expect(await part.subscriber.currentSequence(appId)).toBe(4n);
  await registry.stop();
  // The carrier was away, so the registry may have been restored meanwhile; and it can't be asked.
  part.carrier.reconnect();
  await part.carrier.bring(event);
  expect(part.sequencesOf(appId)).toEqual(countTo(4));
  expect((await refusalOf(part.subscriber.currentSequence(appId))).reason).toBe(Reason.VIEW_STALE);
});
