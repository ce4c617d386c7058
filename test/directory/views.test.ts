import { describe, expect, test } from "vitest";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { View } from "../../src/directory/view.ts";
import { createViews } from "../../src/directory/views.ts";
import { FakeClock } from "../support/clock.ts";
import { bindTestService, registerTestApp, suspendOf } from "../support/developer.ts";
import { startRegistry } from "../support/registry.ts";
import { connectionsTo, refusalOf } from "./support.ts";

/** A view of a number that counts its reads, and can be made to fail. */
function countingView() {
  const clock = new FakeClock();
  const source = {
    reads: 0,
    failure: undefined as Error | undefined,
    until: undefined as Promise<void> | undefined,
    sequence: 1n,
    minSequence: 0n,
  };
  const view = new View({
    async read() {
      source.reads++;
      if (source.until !== undefined) await source.until;
      if (source.failure !== undefined) throw source.failure;
      return { value: source.reads, sequence: source.sequence };
    },
    minSequence: () => source.minSequence,
    clock,
    maxAgeMs: 10_000,
  });
  return { clock, source, view };
}

describe("a view", () => {
  test("is read once for many at the same time", async () => {
    const { view, source } = countingView();
    expect(await Promise.all([view.get(), view.get(), view.refresh()])).toEqual([1, 1, 1]);
    expect(source.reads).toBe(1);
  });

  test("is read in the background when it is past half its age", async () => {
    const { view, clock, source } = countingView();
    await view.get();
    clock.advance(4.9);
    expect(await view.get()).toBe(1);
    expect(source.reads).toBe(1);
    clock.advance(0.1);
    expect(await view.get()).toBe(1);
    expect(source.reads).toBe(2);
    expect(await view.get()).toBe(2);
  });

  test("is waited for when it is too old", async () => {
    const { view, clock } = countingView();
    await view.get();
    clock.advance(10);
    expect(await view.get()).toBe(2);
  });

  test.each([false, true])("is read once more if what was being read is too old by then (known: %s)", async (known) => {
    const { view, clock, source } = countingView();
    if (known) await view.get();
    clock.advance(1);
    const gate = Promise.withResolvers<void>();
    source.until = gate.promise;
    const early = view.refresh();
    clock.advance(11);
    const late = view.get();
    gate.resolve();
    source.until = undefined;
    expect(await late).toBe(source.reads);
    expect(await early).toBe(source.reads);
    expect(source.reads).toBe(known ? 3 : 2);
  });

  test("lives on while reads fail, until it is too old", async () => {
    const { view, clock, source } = countingView();
    await view.get();
    source.failure = new Error("unreachable");
    clock.advance(9.9);
    expect(await view.refresh()).toBe(1);
    clock.advance(0.1);
    expect(await refusalOf(view.get())).toMatchObject({ reason: Reason.VIEW_STALE, metadata: { age_seconds: "10" } });
    source.failure = undefined;
    clock.advance(1);
    expect(await view.get()).toBe(source.reads);
  });

  test("that never was fails as its read does", async () => {
    const { view, source } = countingView();
    source.failure = new Error("unreachable");
    await expect(view.get()).rejects.toBe(source.failure);
  });

  test("is refreshed at most once a second", async () => {
    const { view, clock, source } = countingView();
    await view.refresh();
    await view.refresh();
    expect(source.reads).toBe(1);
    clock.advance(1);
    await view.refresh();
    expect(source.reads).toBe(2);
  });

  test("holds without being read while it is confirmed that nothing has changed", async () => {
    const { view, clock, source } = countingView();
    await view.get(1n);
    clock.advance(3600);
    expect(await view.get(1n)).toBe(1);
    expect(source.reads).toBe(1);
    source.sequence = 2n;
    expect(await view.get(2n)).toBe(2);
  });

  test("of before a change that is known is read anew at once, however lately it was read", async () => {
    const { view, source } = countingView();
    await view.get();
    source.sequence = 2n;
    source.minSequence = 2n;
    expect(await view.get()).toBe(2);
    expect(await view.refresh()).toBe(2);
  });

  test("of before a change that is known is not believed when it comes as an answer", async () => {
    const { view, source } = countingView();
    await view.get();
    source.minSequence = 2n;
    expect((await refusalOf(view.get())).reason).toBe(Reason.VIEW_STALE);
    expect((await refusalOf(view.get(1n))).reason).toBe(Reason.VIEW_STALE);
    expect(source.reads).toBe(2);
  });

  test("is too old when the clock was set back", async () => {
    const { view, clock } = countingView();
    await view.get();
    clock.advance(-3600);
    expect(await view.get()).toBe(2);
  });

  test("has an age that is a number also when the clock was set back", async () => {
    const { view, clock, source } = countingView();
    await view.get();
    source.failure = new Error("unreachable");
    clock.advance(-3600);
    expect(await refusalOf(view.get())).toMatchObject({ reason: Reason.VIEW_STALE, metadata: { age_seconds: "0" } });
  });
});

test("views of apps and services follow the registry", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const app = await registerTestApp(registry);
  const service = await bindTestService(registry, app);
  const views = createViews({ registries: connectionsTo(registry).registries, clock });
  expect((await views.app(app.appId)).masterKeyId).toBe(app.master.keyId);
  expect((await views.service(app.appId, service.serviceId)).status).toBe(ServiceStatus.ACTIVE);
  await registry.registry.suspendService({ statement: suspendOf(clock, service) });
  expect((await views.service(app.appId, service.serviceId)).status).toBe(ServiceStatus.ACTIVE);
  views.forget(app.appId);
  expect((await views.service(app.appId, service.serviceId)).status).toBe(ServiceStatus.SUSPENDED);
  expect((await refusalOf(views.service(app.appId, "nobody"))).reason).toBe(Reason.SERVICE_UNKNOWN);
});

test("a view ends with an answer to this party's own call that shows that the app has changed", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const app = await registerTestApp(registry);
  const service = await bindTestService(registry, app);
  const { registries } = connectionsTo(registry);
  const views = createViews({ registries, clock });
  expect((await views.service(app.appId, service.serviceId)).status).toBe(ServiceStatus.ACTIVE);
  await registries.forApp(app.appId).suspendService(suspendOf(clock, service));
  expect((await views.service(app.appId, service.serviceId)).status).toBe(ServiceStatus.SUSPENDED);
});

test("the revision of an app and a service grows with each reading, and there is none of what has to be waited for", async () => {
  const registry = await startRegistry();
  const { clock } = registry;
  const app = await registerTestApp(registry);
  const { serviceId } = await bindTestService(registry, app);
  const views = createViews({ registries: connectionsTo(registry).registries, clock });
  const revision = () => views.revision(app.appId, serviceId);
  const read = () => Promise.all([views.app(app.appId), views.service(app.appId, serviceId)]);
  expect(revision()).toBeUndefined();

  await views.app(app.appId);
  expect(revision()).toBeUndefined();
  await views.service(app.appId, serviceId);
  const first = revision();
  expect(first).toBeGreaterThan(0);
  await read();
  expect(revision()).toBe(first);
  clock.advance(10);
  expect(revision()).toBeUndefined();
  await read();
  const second = revision();
  expect(second).toBeGreaterThan(first ?? 0);

  const followed = { sequence: 2n as bigint | undefined };
  views.follow({
    follows: () => true,
    appliedSequence: () => 2n,
    sequenceNow: () => followed.sequence,
    currentSequence: async () => 2n,
  });
  clock.advance(10);
  expect(revision()).toBe(second);
  followed.sequence = undefined; // the last head is too old
  expect(revision()).toBeUndefined();
  followed.sequence = 3n; // the app has changed
  expect(revision()).toBeUndefined();
  followed.sequence = 2n;
  views.forget(app.appId);
  expect(revision()).toBeUndefined();
  await read();
  expect(revision()).toBeGreaterThan(second ?? 0);
});

test("without its registry a view becomes stale, and an unknown app is unavailable", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const other = await registerTestApp(registry);
  const views = createViews({ registries: connectionsTo(registry).registries, clock: registry.clock });
  await views.app(app.appId);
  await registry.stop();
  expect((await views.app(app.appId)).appId).toBe(app.appId);
  registry.clock.advance(10);
  expect((await refusalOf(views.app(app.appId))).reason).toBe(Reason.VIEW_STALE);
  expect((await refusalOf(views.app(other.appId))).reason).toBe(Reason.REGISTRY_UNAVAILABLE);
});
