import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { WatchRequestSchema } from "../../gen/omi/event/v1/event_service_pb.ts";
import { frameOf } from "../../src/rpc/ready/frame.ts";
import { type Child, startChild } from "../child.ts";
import type { BareChildOptions } from "../children/bare.ts";
import type { ResidentMemory } from "../children/memory.ts";
import type { RegistryChildOptions } from "../children/registry.ts";
import type { WatchLoadOptions, WatchLoadQuestion } from "../children/watch-load.ts";
import { median, type Row, type Setting } from "../harness.ts";
import { tls } from "../tls.ts";
import { makeWorld, rotationLanes, type World } from "../world.ts";

const streamsPerConnection = 100;
const connectionsOf = ({ quick }: Setting) => (quick ? 10 : 100);

/** About the length of signed heads of one app. */
const headsBytes = 400;

/** One after the other; their median counts. */
const writesPerRound = 5;

const rotatePath = "/omi.registry.v1.RegistryService/RotateKey";

/** An app with one service, and the streams of those who know all its events so far. */
interface Ground {
  readonly world: World;
  startRegistry(): Promise<Child<{ url: string }>>;
  startLoad(): Promise<WatchLoad>;
}

interface WatchLoad {
  open(url: string): Promise<void>;
  /** Sends a rotation; the milliseconds until the last stream has the event. */
  deliver(url: string, rotation: Uint8Array): Promise<number>;
  stop(): Promise<void>;
}

function ground(setting: Setting): Ground {
  const directory = mkdtempSync(join(tmpdir(), "omi-bench-"));
  setting.cleanUp(() => rmSync(directory, { recursive: true }));
  const world = makeWorld(1);
  const worldFile = join(directory, "world.json");
  writeFileSync(worldFile, JSON.stringify(world.file));
  // The events are the app's registration and a binding for each service.
  const sequence = BigInt(1 + world.services.length);
  const request = create(WatchRequestSchema, { apps: [{ appId: world.appId, sequence }] });
  const watchFrame = Buffer.from(frameOf(toBinary(WatchRequestSchema, request))).toString("base64");
  let started = 0;
  return {
    world,
    startRegistry() {
      const databaseFile = join(directory, `registry-${started++}.sqlite`);
      return startChild("registry", { worldFile, databaseFile } satisfies RegistryChildOptions, setting);
    },
    async startLoad() {
      const options: WatchLoadOptions = { connections: connectionsOf(setting), streamsPerConnection, watchFrame };
      const load = await startChild<object>("watch-load", options, setting);
      const ask = <Answer>(question: WatchLoadQuestion) => load.ask<Answer>(question);
      return {
        stop: load.stop,
        open: (url) => ask({ do: "open", url }),
        async deliver(url, rotation) {
          const body = Buffer.from(rotation).toString("base64");
          return (await ask<{ milliseconds: number }>({ do: "deliver", url, path: rotatePath, body })).milliseconds;
        },
      };
    },
  };
}

/** What the streams add to a server's resident memory, in KB for each. The server ends with it. */
async function memoryOfStreams(server: Child<object>, url: string, on: Ground, setting: Setting): Promise<number> {
  const load = await on.startLoad();
  const before = await server.ask<ResidentMemory>({});
  await load.open(url);
  const after = await server.ask<ResidentMemory>({});
  await load.stop();
  await server.stop();
  const streams = connectionsOf(setting) * streamsPerConnection;
  return (after.residentBytes - before.residentBytes) / streams / 1000;
}

const what = "10,000 Watch streams over 100 connections (a tenth of both with --quick)";

/** Streams: what a listener costs, and how long the last of many waits. */
export const watchRows: readonly Row[] = [
  {
    name: "watch-memory",
    what: `${what}: resident memory of the registry for each`,
    against: "streams of a bare Node server with one message each",
    reach: 30,
    unit: "KB",
    startsAnew: true,
    needs: [],
    async prepare(setting) {
      const on = ground(setting);
      return [
        {
          name: "registry",
          async measure() {
            const registry = await on.startRegistry();
            return memoryOfStreams(registry, registry.ready.url, on, setting);
          },
        },
        {
          name: "bare",
          async measure() {
            const frame = Buffer.from(frameOf(Buffer.alloc(headsBytes))).toString("base64");
            const options: BareChildOptions = { frame, tls, hold: true };
            const bare = await startChild<{ h2c: string }>("bare", options, setting);
            return memoryOfStreams(bare, bare.ready.h2c, on, setting);
          },
        },
      ];
    },
  },
  {
    name: "watch-delivery",
    what: `${what}: from sending a write to the last stream's event`,
    against: "–",
    reach: 500,
    unit: "ms",
    needs: [],
    async prepare(setting) {
      const on = ground(setting);
      const registry = await on.startRegistry();
      const load = await on.startLoad();
      const { url } = registry.ready;
      await load.open(url);
      const rotations = rotationLanes(on.world, 1, (1 + setting.rounds) * writesPerRound).flat();
      return [
        {
          name: "registry",
          async measure() {
            const times: number[] = [];
            for (const rotation of rotations.splice(0, writesPerRound)) times.push(await load.deliver(url, rotation));
            return median(times);
          },
        },
      ];
    },
  },
];
