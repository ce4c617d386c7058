import { expect, test } from "vitest";
import { type Listener, type Subscription, WatchHub } from "../../src/events/watch-hub.ts";
import { FakeClock } from "../support/clock.ts";

const listening = new AbortController().signal;

function started() {
  const clock = new FakeClock();
  return { clock, hub: new WatchHub((milliseconds, callback) => clock.setTimer(milliseconds, callback)) };
}

/** Notes what it is told. */
class Notes implements Listener {
  readonly heard: (string | undefined)[] = [];

  changed(appId: string | undefined): void {
    this.heard.push(appId);
  }
}

const nextTurn = () => new Promise(setImmediate);

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
});

test("what happens while nobody waits is not lost, and told once", async () => {
  const { hub } = started();
  const subscription = hub.subscribe(["a", "b"]);
  for (const appId of ["a", "b", "a"]) hub.changed(appId);
  expect(await isWoken(subscription)).toBe(true);
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
});

test("a listener is told which of its apps changed, once for each if they change again before it is told", async () => {
  const { hub } = started();
  const [some, other, all] = [new Notes(), new Notes(), new Notes()];
  hub.listen(["a", "b"], some);
  hub.listen(["c"], other);
  hub.listen(undefined, all);
  for (const appId of ["a", "b", "a"]) hub.changed(appId);
  expect(some.heard).toEqual([]);
  await nextTurn();
  expect([some, other, all].map(({ heard }) => heard)).toEqual([["a", "b"], [], [undefined]]);
});

test("the first are told before anything else happens, behind all changes of the same turn", async () => {
  const { hub } = started();
  const listener = new Notes();
  hub.listen(["a", "b"], listener);
  const order: string[] = [];
  setImmediate(() => order.push("anything else"));
  const writes = ["a", "b"].map((appId) => Promise.resolve().then(() => hub.changed(appId)));
  await Promise.all(writes);
  order.push(...listener.heard.map(String));
  await nextTurn();
  expect(order).toEqual(["a", "b", "anything else"]);
});

test("many are told in turns, so that calls come in between", async () => {
  const { hub } = started();
  const many = Array.from({ length: 250 }, () => new Notes());
  for (const listener of many) hub.listen(["a"], listener);
  hub.changed("a");
  const told = () => many.filter(({ heard }) => heard.length > 0).length;
  await nextTurn();
  expect(told()).toBeLessThan(many.length);
  while (told() < many.length) await nextTurn();
  expect(many.every(({ heard }) => heard.length === 1)).toBe(true);
});

test("a change while listeners are told of another one is told too", async () => {
  const { hub } = started();
  const second = new Notes();
  hub.listen(undefined, { changed: () => second.heard.length === 0 && hub.changed("b") });
  hub.listen(["b"], second);
  hub.changed("a");
  await nextTurn();
  expect(second.heard).toEqual(["b"]);
});

test("those who listen to all have their turn, however often apps change", async () => {
  const { hub } = started();
  const all = new Notes();
  let turns = 0;
  for (const [app, next] of [
    ["a", "b"],
    ["b", "a"],
  ] as const) {
    hub.listen([app], { changed: () => turns++ < 1000 && hub.changed(next) });
  }
  hub.listen(undefined, all);
  hub.changed("a");
  await nextTurn();
  expect(all.heard.length).toBeGreaterThan(0);
});

test("whoever leaves before being told is not told", async () => {
  const { hub } = started();
  const one = new Notes();
  const leave = hub.listen(["a"], one);
  hub.changed("a");
  leave();
  await nextTurn();
  expect(one.heard).toEqual([]);
});
