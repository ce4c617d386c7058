import { expect, test } from "vitest";
import { takeTurn, type Waiting } from "../../src/core/turns.ts";

test("many who always have more to do leave the event loop its turns, and each other theirs", async () => {
  const steps = new Map<number, number>();
  let going = true;
  let atOnce = 0;
  let most = 0;
  for (let name = 0; name < 1000; name++) {
    const somebody: Waiting = {
      turn() {
        steps.set(name, (steps.get(name) ?? 0) + 1);
        most = Math.max(most, ++atOnce);
        if (going) takeTurn(somebody);
      },
    };
    takeTurn(somebody);
  }
  for (let turn = 0; turn < 100; turn++) {
    await new Promise(setImmediate);
    atOnce = 0;
  }
  going = false;
  expect(most).toBeLessThanOrEqual(200);
  expect(steps.size).toBe(1000);
  expect(Math.max(...steps.values()) - Math.min(...steps.values())).toBeLessThanOrEqual(1);
});

test("who asks twice before their turn has one", async () => {
  let turns = 0;
  const somebody = { turn: () => void turns++ };
  takeTurn(somebody);
  takeTurn(somebody);
  let left = 3;
  while (left > 0) {
    await new Promise(setImmediate);
    if (turns > 0) left--;
  }
  expect(turns).toBe(1);
});
