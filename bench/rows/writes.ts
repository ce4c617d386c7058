import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Child, startChild } from "../child.ts";
import type { RegistryChildOptions } from "../children/registry.ts";
import type { WriteLoadOptions } from "../children/write-load.ts";
import type { Contender, Row, Setting } from "../harness.ts";
import { makeWorld, rotationLanes } from "../world.ts";

const lanes = 128;

/** Statements are good for five minutes, and a row takes all of them several times: so many that it takes no longer. */
const rotationsPerService = { quick: 8, full: 16 };

/**
 * A registry that takes the same rotations every time: each measurement starts one anew, with the same services and
 * nothing else.
 */
async function contenders(
  setting: Setting,
  variants: Readonly<Record<string, Pick<RegistryChildOptions, "writeBatchSize"> & { inMemory?: boolean }>>,
): Promise<Contender[]> {
  const directory = mkdtempSync(join(tmpdir(), "omi-bench-"));
  setting.cleanUp(() => rmSync(directory, { recursive: true }));
  const world = makeWorld(2 * lanes);
  const worldFile = join(directory, "world.json");
  writeFileSync(worldFile, JSON.stringify(world.file));
  const perService = setting.quick ? rotationsPerService.quick : rotationsPerService.full;
  const bodies = rotationLanes(world, lanes, perService);
  const lanesFile = join(directory, "lanes.json");
  writeFileSync(
    lanesFile,
    JSON.stringify(bodies.map((lane) => lane.map((body) => Buffer.from(body).toString("base64")))),
  );
  const options: WriteLoadOptions = { lanesFile, path: "/omi.registry.v1.RegistryService/RotateKey" };
  const load: Child<object> = await startChild("write-load", options, setting);
  let started = 0;
  return Object.entries(variants).map(([name, { inMemory = false, ...variant }]) => ({
    name,
    async measure() {
      const databaseFile = inMemory ? ":memory:" : join(directory, `registry-${started++}.sqlite`);
      const registry = await startChild<{ url: string }>("registry", { worldFile, databaseFile, ...variant }, setting);
      const { rate } = await load.ask<{ rate: number }>(registry.ready);
      await registry.stop();
      return rate;
    },
  }));
}

/** Signed writes: a rotation has two signatures to verify, and is answered when it is on disk. */
export const writeRows: readonly Row[] = [
  {
    name: "write",
    what: "signed durable write (rotation), 128 in flight",
    against: "the same server in memory, without a commit to disk",
    reach: 0.75,
    startsAnew: true,
    needs: [],
    prepare: (setting) => contenders(setting, { registry: {}, "in memory": { inMemory: true } }),
  },
  {
    name: "write-batched",
    what: "signed durable write (rotation), 128 in flight",
    against: "the same server with one commit a request",
    reach: 4,
    startsAnew: true,
    needs: [],
    prepare: (setting) => contenders(setting, { registry: {}, "one by one": { writeBatchSize: 1 } }),
  },
];
