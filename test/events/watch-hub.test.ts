import { expect, test } from "vitest";
import { type Subscription, WatchHub } from "../../src/events/watch-hub.ts";
import { FakeClock } from "../support/clock.ts";

const listening = new AbortController().signal;

function started() {
  const clock = new FakeClock();
  return { clock, hub: new WatchHub((milliseconds, callback) => clock.setTimer(milliseconds, callback)) };
}

/** True if the subscription has something to wake up for, without any time passing. */
async function isWoken(subscription: Subscription): Promise<boolean> {
  const woken = subscription.wait(1000, listening).then(() => true);
  return Promise.race([woken, new Promise<boolean>((resolve) => setImmediate(() => resolve(false)))]);
}

test("a change wakes those who listen to the app, and those who listen to all", async () => {
  const { hub } = started();
  const [one, two, all] = [hub.subscribe(["a", "b"]), hub.subscribe(["c"]), hub.subscribe(undefined)];
  hub.changed("a");
  expect(await Promise.all([one, two, all].map(isWoken))).toEqual([true, false, true]);
  expect([...one.takeChanged()]).toEqual(["a"]);
  expect([...one.takeChanged()]).toEqual([]);
});

test("what happens while nobody waits is not lost, and told once", async () => {
  const { hub } = started();
  const subscription = hub.subscribe(["a", "b"]);
  for (const appId of ["a", "b", "a"]) hub.changed(appId);
  expect(await isWoken(subscription)).toBe(true);
  expect([...subscription.takeChanged()]).toEqual(["a", "b"]);
  expect(await isWoken(subscription)).toBe(false);
});

test("what concerns no app wakes nobody", async () => {
  const { hub } = started();
  const all = hub.subscribe(undefined);
  hub.changed(undefined);
  expect(await isWoken(all)).toBe(false);
});

test("waiting ends with the time, by the clock", async () => {
  const { hub, clock } = started();
  const waited = hub.subscribe(["a"]).wait(5000, listening);
  clock.advance(5);
  await waited;
});

test("waiting ends with the listener", async () => {
  const { hub } = started();
  const controller = new AbortController();
  const subscription = hub.subscribe(["a"]);
  const waited = subscription.wait(5000, controller.signal);
  controller.abort();
  await waited;
  await subscription.wait(5000, controller.signal);
});

test("whoever has closed hears no more", async () => {
  const { hub } = started();
  const [one, all] = [hub.subscribe(["a"]), hub.subscribe(undefined)];
  one.close();
  all.close();
  hub.changed("a");
  expect(await isWoken(one)).toBe(false);
  expect(await isWoken(all)).toBe(false);
  expect([...one.takeChanged()]).toEqual([]);
});
