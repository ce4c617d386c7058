import { expect, test } from "vitest";
import { Alarm, type Sleeper } from "../../src/events/alarm.ts";
import { FakeClock } from "../support/clock.ts";

function started() {
  const clock = new FakeClock();
  const alarm = new Alarm(clock, 5000);
  /** The seconds at which sleepers were called, by name. */
  const calls: [string, number][] = [];
  const begin = clock.now();
  const sleeper = (name: string, then = () => {}): Sleeper => ({
    ring() {
      calls.push([name, (clock.now() - begin) / 1000]);
      then();
    },
  });
  return { clock, alarm, calls, sleeper };
}

test("each is called once, when its time has passed", () => {
  const { clock, alarm, calls, sleeper } = started();
  alarm.set(sleeper("a"));
  clock.advance(2);
  alarm.set(sleeper("b"));
  clock.advance(4);
  expect(calls).toEqual([["a", 5]]);
  clock.advance(60);
  expect(calls).toEqual([
    ["a", 5],
    ["b", 7],
  ]);
});

test("whoever asks again, also while being called, is called again", () => {
  const { clock, alarm, calls, sleeper } = started();
  const often = sleeper("often", () => alarm.set(often));
  alarm.set(often);
  clock.advance(16);
  expect(calls.map(([, at]) => at)).toEqual([5, 10, 15]);
});

test("asking again before the time has passed puts it off", () => {
  const { clock, alarm, calls, sleeper } = started();
  const one = sleeper("one");
  alarm.set(one);
  clock.advance(3);
  alarm.set(one);
  clock.advance(10);
  expect(calls).toEqual([["one", 8]]);
});

test("whoever cancels is not called, and delays nobody", () => {
  const { clock, alarm, calls, sleeper } = started();
  const [first, second] = [sleeper("first"), sleeper("second")];
  alarm.set(first);
  alarm.set(second);
  alarm.cancel(first);
  clock.advance(5);
  expect(calls).toEqual([["second", 5]]);
});

test("a clock that is set back makes nobody wait longer", () => {
  const clock = new FakeClock();
  let setBack = 0;
  const wall = { now: () => clock.now() - setBack, setTimer: clock.setTimer.bind(clock) };
  const alarm = new Alarm(wall, 5000);
  let called = 0;
  alarm.set({ ring: () => called++ });
  clock.advance(2);
  setBack = 3_600_000;
  clock.advance(5);
  expect(called).toBe(1);
});

test("many are called in turns, so that calls come in between", async () => {
  const { clock, alarm, calls, sleeper } = started();
  for (let count = 0; count < 250; count++) alarm.set(sleeper(`${count}`));
  clock.advance(5);
  expect(calls.length).toBeLessThan(250);
  while (calls.length < 250) await new Promise(setImmediate);
  clock.advance(60);
  expect(calls).toHaveLength(250);
});
