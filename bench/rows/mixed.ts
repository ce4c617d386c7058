import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startChild } from "../child.ts";
import type { WriteLoadOptions, WriteLoadQuestion } from "../children/write-load.ts";
import { firstBySecond, type Row } from "../harness.ts";
import { h2load, h2loadLatencies, warmUpSeconds } from "../tools.ts";
import { makeWorld, rotationLanes } from "../world.ts";
import { ground, grpcHeaders, path } from "./reads.ts";

/** How many signed writes there are in a second, beside the reads. */
const writesPerSecond = 500;

const services = 256;

/** Reads and writes together: a commit must not hold up those who read. */
export const mixedRows: readonly Row[] = [
  {
    name: "mixed",
    what: `p99 of reads at half of their maximum, beside ${writesPerSecond} signed writes a second`,
    against: "p99 of the same reads alone",
    reach: 3,
    unit: "ms",
    ratio: firstBySecond,
    needs: ["h2load"],
    async prepare(setting) {
      const world = makeWorld(services);
      const on = await ground(setting, { world });
      const rounds = setting.rounds + 1;
      const secondsOf = (seconds: number) => seconds + warmUpSeconds(seconds);
      const writes = rounds * secondsOf(Math.max(1, setting.seconds)) * writesPerSecond;
      const bodies = rotationLanes(world, services, Math.ceil(writes / services) + 1);
      const lanesFile = join(on.directory, "lanes.json");
      const base64 = (body: Uint8Array) => Buffer.from(body).toString("base64");
      writeFileSync(lanesFile, JSON.stringify(bodies.map((lane) => lane.map(base64))));
      const loadOptions: WriteLoadOptions = { lanesFile, path: "/omi.registry.v1.RegistryService/RotateKey" };
      const load = await startChild("write-load", loadOptions, setting);

      const target = { url: on.registry + path, headers: grpcHeaders, bodyFile: on.grpcBody };
      const perSecond = (await h2load(target, 1)) / 2;
      const logFile = join(on.directory, "latencies.tsv");
      const p99 = async (seconds: number) => {
        const latencies = await h2loadLatencies(target, { seconds, perSecond, logFile });
        return latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN;
      };
      return [
        {
          name: "beside writes",
          async measure(seconds) {
            const steady = { seconds: secondsOf(seconds), perSecond: writesPerSecond };
            const writing = load.ask({ url: on.registry, steady } satisfies WriteLoadQuestion);
            const [figure] = await Promise.all([p99(seconds), writing]);
            return figure;
          },
        },
        { name: "alone", measure: p99 },
      ];
    },
  },
];
