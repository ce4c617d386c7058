import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { connect } from "nats";
import { RegistryService } from "../gen/omi/registry/v1/registry_service_pb.ts";
import { systemRandom } from "../src/core/random.ts";
import { type NatsServer, startNatsServer } from "../src/operator/nats-server.ts";
import { freePorts } from "../src/operator/processes.ts";
import { openDatabase } from "../src/store/database.ts";
import { type Child, startChild } from "./child.ts";
import { monotonicMicros } from "./children/lines.ts";
import type { NatsEchoOptions, NatsEchoQuestion } from "./children/nats-echo.ts";
import type { RegistryChildOptions, RegistryQuestion } from "./children/registry.ts";
import type { SubscribersChildOptions, SubscribersQuestion } from "./children/subscribers.ts";
import { median } from "./harness.ts";
import { describeMachine } from "./machine.ts";
import { missingTools } from "./tools.ts";
import { makeWorld, rotator } from "./world.ts";

// From the registry's commit to the effect on a subscriber's disk, by Watch and by NATS JetStream, beside what NATS and the
// disk take by themselves. All times are of the clock that the processes of a machine share.

const usage = `npm run bench:events -- [--quick] [--subscribers N]...

  --quick          few rounds of few events: to see that everything runs, not for figures
  --subscribers N  with so many subscribers only; may be repeated; 1, 100 and 1000 if left out
`;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    subscribers: { type: "string", multiple: true, default: ["1", "100", "1000"] },
    help: { type: "boolean", default: false },
  },
});

/** The p99 by JetStream at one subscriber should be at most so many times that of a bare NATS round trip. */
const reach = 3;

const rounds = values.quick ? 2 : 5;

/** How many events a measurement has; with many subscribers each event gives as many latencies. */
const eventsFor = (subscribers: number) =>
  values.quick ? Math.max(3, Math.ceil(20 / subscribers)) : Math.max(20, Math.ceil(500 / subscribers));

/** How many messages a bare measurement has. */
const bareCount = values.quick ? 200 : 2000;

/** So many subscribers share a process. */
const subscribersOfAProcess = 500;

/** From this load on, other programs take part in what is measured. */
const busyLoad = 0.5;

type CleanUp = (end: () => unknown) => void;

/** Something whose latency is measured again and again. */
interface Contender {
  readonly name: string;
  readonly subscribers?: number;
  /** One round's latencies in microseconds, and what else is to be told of it. */
  measure(cleanUp: CleanUp): Promise<{ latencies: number[]; caughtUp?: number }>;
}

/** A round of a contender. Microseconds. */
interface Round {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly caughtUp?: number;
}

const bare: Contender = {
  name: "bare NATS, request and answer",
  async measure(cleanUp) {
    const { server, payload } = await startBare(cleanUp);
    const connection = await connect({ servers: server.address });
    cleanUp(() => connection.close());
    const latencies: number[] = [];
    for (let number = 0; number < bareCount * 1.1; number++) {
      const start = monotonicMicros();
      await connection.request("echo", payload);
      latencies.push(monotonicMicros() - start);
    }
    return { latencies: warmedUp(latencies, bareCount) };
  },
};

const bareJetStream: Contender = {
  name: "bare JetStream, publisher to consumer",
  async measure(cleanUp) {
    const { server, payload, echo } = await startBare(cleanUp);
    const connection = await connect({ servers: server.address });
    cleanUp(() => connection.close());
    const jetstream = connection.jetstream();
    const latencies: number[] = [];
    for (let number = 0; number < bareCount * 1.1; number++) {
      const came = echo.ask<number[]>({ count: 1 } satisfies NatsEchoQuestion);
      const start = monotonicMicros();
      const [[at = Number.NaN]] = await Promise.all([came, jetstream.publish("bare.event", payload)]);
      latencies.push(at - start);
    }
    return { latencies: warmedUp(latencies, bareCount) };
  },
};

const bareCommit: Contender = {
  name: "bare commit of a row, synced",
  async measure(cleanUp) {
    const folder = newFolder(cleanUp);
    const db = openDatabase(join(folder, "commit.sqlite"), ["CREATE TABLE t (n INTEGER) STRICT"]);
    cleanUp(() => db.close());
    const insert = db.prepare("INSERT INTO t VALUES (?)");
    const latencies: number[] = [];
    for (let number = 0; number < bareCount * 1.1; number++) {
      const start = monotonicMicros();
      insert.run(number);
      latencies.push(monotonicMicros() - start);
      // Commits of events come one by one too, with something else in between.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { latencies: warmedUp(latencies, bareCount) };
  },
};

function carried(carrier: "Watch" | "JetStream", subscribers: number): Contender {
  return {
    name: carrier,
    subscribers,
    async measure(cleanUp) {
      const folder = newFolder(cleanUp);
      const nats = carrier === "JetStream" ? await startNats(folder, cleanUp) : undefined;
      const natsServer = nats && { natsServer: nats.address };
      const world = makeWorld(1);
      const worldFile = join(folder, "world.json");
      writeFileSync(worldFile, JSON.stringify(world.file));
      const registry = await startChild<{ url: string }>(
        "registry",
        { worldFile, databaseFile: join(folder, "registry.sqlite"), ...natsServer } satisfies RegistryChildOptions,
        { cleanUp },
      );
      const children = await Promise.all(
        Array.from({ length: Math.ceil(subscribers / subscribersOfAProcess) }, (_, index) =>
          startChild(
            "subscribers",
            {
              count: Math.min(subscribersOfAProcess, subscribers - index * subscribersOfAProcess),
              name: `part${index}`,
              folder,
              appId: world.appId,
              registryUrl: registry.ready.url,
              ...natsServer,
            } satisfies SubscribersChildOptions,
            { cleanUp },
          ),
        ),
      );
      return measureEvents(registry, children, world, eventsFor(subscribers));
    },
  };
}

/** Rotates a service's key again and again, each time after all have had the event before. */
async function measureEvents(
  registry: Child<{ url: string }>,
  children: readonly Child<unknown>[],
  world: ReturnType<typeof makeWorld>,
  events: number,
) {
  const [service] = world.services;
  if (service === undefined) throw new Error("a world without services");
  const client = createClient(
    RegistryService,
    createConnectTransport({ baseUrl: registry.ready.url, httpVersion: "2" }),
  );
  const rotate = rotator(world);
  // The app's first events: it was registered, and its service bound.
  let sequence = 2;
  const latencies: number[] = [];
  const warmUp = Math.ceil(events / 10);
  for (let number = 0; number < warmUp + events; number++) {
    sequence++;
    const applied = children.map((child) => child.ask<number[]>({ sequence } satisfies SubscribersQuestion));
    await client.rotateKey({ statement: rotate(service.serviceId) });
    const times = (await Promise.all(applied)).flat();
    const [committed = Number.NaN] = await registry.ask<number[]>({ commits: true } satisfies RegistryQuestion);
    if (number >= warmUp) latencies.push(...times.map((at) => at - committed));
  }
  const counts = await Promise.all(
    children.map((child) => child.ask<{ caughtUp: number }>({ caughtUp: true } satisfies SubscribersQuestion)),
  );
  return { latencies, caughtUp: counts.reduce((sum, { caughtUp }) => sum + caughtUp, 0) };
}

async function startBare(cleanUp: CleanUp) {
  const server = await startNats(newFolder(cleanUp), cleanUp);
  const connection = await connect({ servers: server.address });
  await (await connection.jetstreamManager()).streams.add({ name: "bare", subjects: ["bare.>"] });
  await connection.close();
  const options: NatsEchoOptions = { server: server.address, echo: "echo", stream: "bare" };
  const echo = await startChild("nats-echo", options, { cleanUp });
  // As long as a signed event.
  return { server, echo, payload: systemRandom(500) };
}

async function startNats(folder: string, cleanUp: CleanUp): Promise<NatsServer> {
  const [port = 0] = await freePorts(1);
  const server = await startNatsServer(folder, port);
  cleanUp(() => server.stop());
  return server;
}

function newFolder(cleanUp: CleanUp): string {
  const folder = mkdtempSync(join(tmpdir(), "omi-bench-"));
  cleanUp(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** The last ones. */
function warmedUp(latencies: readonly number[], count: number): number[] {
  return latencies.slice(-count);
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

async function measureRound({ measure }: Contender): Promise<Round> {
  const ends: (() => unknown)[] = [];
  try {
    const { latencies, caughtUp } = await measure((end) => ends.push(end));
    const sorted = latencies.toSorted((a, b) => a - b);
    const shares = { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1) ?? Number.NaN };
    return { count: sorted.length, ...shares, ...(caughtUp !== undefined && { caughtUp }) };
  } finally {
    for (const end of ends.toReversed()) await end();
  }
}

if (values.help) process.stdout.write(usage);
else await run();

async function run(): Promise<void> {
  const counts = values.subscribers.map(Number);
  if (!counts.every((count) => Number.isInteger(count) && count > 0)) fail("--subscribers: a number of subscribers");
  const tools = ["nats-server"];
  const missing = missingTools(tools);
  if (missing.length > 0) fail(`missing: ${missing.join(", ")}`);
  const about = describeMachine(tools);
  const [load = 0] = about.machine.loadBefore;
  if (load > busyLoad) say(`The machine is busy (load ${load.toFixed(2)}): don't trust these figures.`);

  const contenders = [
    ...[bare, bareJetStream, bareCommit],
    ...counts.flatMap((count) => [carried("JetStream", count), carried("Watch", count)]),
  ];
  const results = new Map(contenders.map((contender) => [contender, [] as Round[]]));
  for (let round = 0; round < rounds; round++) {
    // Every other round goes backwards, so that nobody always comes first.
    for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const result = await measureRound(contender);
      results.get(contender)?.push(result);
      say(`${round + 1}/${rounds} ${labelOf(contender)}: p50 ${millis(result.p50)}, p99 ${millis(result.p99)}`);
    }
  }

  const ofBare = results.get(bare) ?? [];
  const outcomes = contenders.map((contender) => {
    const all = results.get(contender) ?? [];
    const ratios = all.map(({ p99 }, round) => p99 / (ofBare[round]?.p99 ?? Number.NaN));
    return {
      name: contender.name,
      ...(contender.subscribers !== undefined && { subscribers: contender.subscribers }),
      p50: median(all.map(({ p50 }) => p50)),
      p99: median(all.map(({ p99 }) => p99)),
      ratio: median(ratios),
      ratios,
      rounds: all,
    };
  });
  const directory = new URL("results/", import.meta.url);
  mkdirSync(directory, { recursive: true });
  const at = new Date().toISOString();
  const file = new URL(`events-${at.replaceAll(":", "-")}.json`, directory);
  writeFileSync(file, `${JSON.stringify({ at, quick: values.quick, ...about, reach, outcomes }, undefined, 2)}\n`);
  say(`\n${tableOf(outcomes)}\n`);
  const aimed = outcomes.find(({ name, subscribers }) => name === "JetStream" && subscribers === 1);
  if (aimed !== undefined) {
    const verdict = aimed.ratio <= reach ? "reached" : "not reached";
    say(
      `JetStream at one subscriber, p99: ${aimed.ratio.toFixed(2)} times a bare round trip (aim: ${reach}): ${verdict}`,
    );
  }
  say(`written to ${file.pathname}`);
}

function labelOf({ name, subscribers }: Pick<Contender, "name" | "subscribers">): string {
  return subscribers === undefined ? name : `${name}, ${subscribers} subscriber${subscribers === 1 ? "" : "s"}`;
}

/** The table in Markdown. Medians of the rounds; the ratio is that of the p99 to the bare round trip of the same round. */
function tableOf(
  outcomes: readonly {
    name: string;
    subscribers?: number;
    p50: number;
    p99: number;
    ratio: number;
    ratios: readonly number[];
    rounds: readonly Round[];
  }[],
): string {
  const cells = outcomes.map((outcome) => [
    labelOf(outcome),
    millis(outcome.p50),
    millis(outcome.p99),
    `${outcome.ratio.toFixed(2)} (${Math.min(...outcome.ratios).toFixed(2)}–${Math.max(...outcome.ratios).toFixed(2)})`,
    outcome.rounds.reduce((sum, { caughtUp = 0 }) => sum + caughtUp, 0).toString(),
  ]);
  const head = ["commit → effect", "p50", "p99", "p99 by a bare round trip's (from–to)", "asked the registry"];
  return [head, head.map(() => "---"), ...cells].map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function millis(microseconds: number): string {
  return `${(microseconds / 1000).toFixed(2)} ms`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function fail(message: string): never {
  process.stderr.write(`${message}\n${usage}`);
  process.exit(1);
}
