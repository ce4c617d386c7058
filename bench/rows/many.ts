import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startChild } from "../child.ts";
import type { RegistryChildOptions, RegistryMemory } from "../children/registry.ts";
import type { Contender, Row, Setting } from "../harness.ts";
import { createDraw, databaseWith, getPathOf, type Popularity } from "../many.ts";
import { h2loadPaths, warmUpSeconds } from "../tools.ts";

const few = 10_000;

const manyOf = ({ quick }: Setting) => (quick ? 100_000 : 1_000_000);

/** So many that one measurement asks for none of them a second time only because it came to the list's end. */
const pathsPerSecond = (services: number) => (services > few ? 30_000 : 60_000);

const megabytes = 1024 * 1024;

function temporaryDirectory({ cleanUp }: Setting): string {
  const directory = mkdtempSync(join(tmpdir(), "omi-bench-"));
  cleanUp(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function startRegistry(services: number, setting: Setting) {
  const options: RegistryChildOptions = { databaseFile: await databaseWith(services, setting) };
  return startChild<{ url: string }>("registry", options, setting);
}

/** Resolves services of a registry, others in every measurement. */
async function resolving(services: number, popularity: Popularity, setting: Setting) {
  const file = join(temporaryDirectory(setting), "paths.txt");
  const registry = await startRegistry(services, setting);
  const draw = createDraw(services, popularity);
  const paths: string[] = [];
  const pathOf = (index: number) => {
    paths[index] ??= getPathOf(index);
    return paths[index];
  };
  const measure = (seconds: number) => {
    const length = Math.ceil((seconds + warmUpSeconds(seconds)) * pathsPerSecond(services));
    writeFileSync(file, Array.from({ length }, () => pathOf(draw())).join("\n"));
    return h2loadPaths(registry.ready.url, file, seconds);
  };
  const contender: Contender = { name: services.toLocaleString("en-US"), measure };
  return { registry, contender };
}

function popularityRow(popularity: Popularity, reach: number): Row {
  return {
    name: `many-${popularity.toLowerCase()}`,
    what: `resolve one of 1,000,000 services, ${popularity === "Zipf" ? "by Zipf's law" : "all alike"}, Connect GET, h2`,
    against: "one of 10,000 services",
    reach,
    needs: ["h2load"],
    async prepare(setting) {
      const many = await resolving(manyOf(setting), popularity, setting);
      const others = await resolving(few, popularity, setting);
      // A registry that has run for a while knows what is popular.
      await many.contender.measure(setting.quick ? 0.5 : 6);
      await others.contender.measure(setting.quick ? 0.5 : 2);
      return [many.contender, others.contender];
    },
  };
}

/** Reads of a registry with many services: what does not fit into the cache is read from the file and signed. */
export const manyRows: readonly Row[] = [
  popularityRow("Zipf", 0.85),
  popularityRow("uniform", 0.4),
  {
    name: "many-memory",
    what: "resident memory with 1,000,000 services, after reads of all alike",
    against: "–",
    reach: 500,
    unit: "MB",
    needs: ["h2load"],
    async prepare(setting) {
      const { registry, contender } = await resolving(manyOf(setting), "uniform", setting);
      // As much as it keeps, it shall have kept before.
      await contender.measure(setting.quick ? 0.5 : 8);
      return [
        {
          name: "registry",
          async measure(seconds) {
            await contender.measure(seconds);
            return (await registry.ask<RegistryMemory>({})).uncollectedBytes / megabytes;
          },
        },
      ];
    },
  },
  {
    name: "many-start",
    what: "from the start of the process to the first answer, with 1,000,000 services",
    against: "–",
    reach: 3,
    unit: "s",
    startsAnew: true,
    needs: [],
    async prepare(setting) {
      await databaseWith(manyOf(setting), setting);
      return [
        {
          name: "registry",
          async measure() {
            const start = performance.now();
            const registry = await startRegistry(manyOf(setting), setting);
            const [response] = (await once(http.get(registry.ready.url + getPathOf(1)), "response")) as [
              http.IncomingMessage,
            ];
            await response.toArray();
            const seconds = (performance.now() - start) / 1000;
            await registry.stop();
            if (response.statusCode !== 200) throw new Error(`refused: ${response.statusCode}`);
            return seconds;
          },
        },
      ];
    },
  },
];
