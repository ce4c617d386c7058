import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeClock } from "../support/clock.ts";
import { newFolder, removeFolder } from "../support/files.ts";
import { type Fate, FaultyPublisher } from "./faulty-publisher.ts";
import { openStand, settle } from "./outbox-stand.ts";

type Step =
  | { append: number }
  | { fates: Fate[] }
  | { cut: true }
  | { wait: number }
  | { crash: true }
  | { restart: true };

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ append: fc.nat(2) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        fates: fc.array(fc.constantFrom<Fate>("confirmed", "kept", "lost", "cut"), { maxLength: 5 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ cut: true } as const) },
    { weight: 1, arbitrary: fc.record({ wait: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.constant({ crash: true } as const) },
    { weight: 1, arbitrary: fc.constant({ restart: true } as const) },
  ),
  { maxLength: 40 },
);

test("whatever fails, every event arrives, and of each app in order", { timeout: 60_000 }, async () => {
  await fc.assert(fc.asyncProperty(steps, play), { numRuns: 60 });
});

async function play(script: readonly Step[]): Promise<void> {
  const folder = newFolder();
  const clock = new FakeClock();
  const publisher = new FaultyPublisher();
  let fates: Fate[] = [];
  publisher.fate = () => fates.shift() ?? "confirmed";
  let stand = openStand(folder, publisher, clock);
  for (const step of script) {
    if ("append" in step) stand.append(`app${step.append}`);
    if ("fates" in step) fates = step.fates;
    if ("cut" in step) publisher.cut();
    if ("wait" in step) clock.advance(step.wait);
    if ("crash" in step) stand.crash();
    if ("restart" in step) await stand.stop();
    if ("crash" in step || "restart" in step) stand = openStand(folder, publisher, clock);
    await settle();
  }
  fates = [];
  clock.advance(60);
  await settle();
  for (const appId of ["app0", "app1", "app2"]) {
    expect(publisher.firstKept(appId)).toEqual(stand.log.eventsOfApp(appId, 0, 1000).map((event) => event.index));
  }
  expect(stand.outbox.publishedIndex).toBe(stand.log.eventsAfter(0, 1000).at(-1)?.index ?? 0);
  await stand.stop();
  removeFolder(folder);
}
