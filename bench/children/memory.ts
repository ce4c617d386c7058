import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

/** What a process answers about its memory. */
export interface ResidentMemory {
  readonly residentBytes: number;
}

/** The memory of this process that is resident once all garbage is collected. */
export async function residentMemory(): Promise<ResidentMemory> {
  // What the first pass finds unused may be freed only later.
  for (let pass = 0; pass < 3; pass++) {
    collectGarbage();
    await sleep(300);
  }
  return { residentBytes: process.memoryUsage.rss() };
}
