import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { createClient, createRouterTransport } from "@connectrpc/connect";
import { RegistryService } from "../../gen/omi/registry/v1/registry_service_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/log.ts";
import { systemRandom } from "../../src/core/random.ts";
import { createNatsPublisher } from "../../src/events/nats/publisher.ts";
import { defaultStreamSettings } from "../../src/events/nats/settings.ts";
import { createRegistry } from "../../src/registry/service.ts";
import { createServer } from "../../src/rpc/server.ts";
import { benchDirectory, registryDomain, registryKey, type WorldFile } from "../world.ts";
import { childOptions, monotonicMicros, serveLines } from "./lines.ts";
import { type ResidentMemory, residentMemory } from "./memory.ts";

/** A registry as it is operated, with every check switched on. */
export interface RegistryChildOptions {
  /** What is registered before it begins; nothing if absent. */
  readonly worldFile?: string;
  readonly databaseFile: string;
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** The most writes that one commit covers. */
  readonly writeBatchSize?: number;
  /** `host:port` of the NATS server where it publishes its events beside Watch. */
  readonly natsServer?: string;
}

/** What it answers about its memory. */
export interface RegistryMemory extends ResidentMemory {
  /** The memory that was resident when it was asked, garbage included. */
  readonly uncollectedBytes: number;
}

async function memory(): Promise<RegistryMemory> {
  const uncollectedBytes = process.memoryUsage.rss();
  return { uncollectedBytes, ...(await residentMemory()) };
}

/** `commits` asks when the rotations were committed since it was asked last, in microseconds of {@link monotonicMicros}. */
export type RegistryQuestion = { readonly commits?: true };

const { worldFile, tls, natsServer, ...options } = childOptions<RegistryChildOptions>();
const logger = createLogger({ level: "warn", component: "registry", destination: process.stderr });
let commits: number[] = [];
const registry = await createRegistry({
  ...options,
  failpoint(name) {
    if (name === "rotate-key.after-commit") commits.push(monotonicMicros());
  },
  ...(natsServer !== undefined && {
    publisher: createNatsPublisher({
      settings: { servers: [natsServer] },
      stream: defaultStreamSettings,
      domain: registryDomain,
      random: systemRandom,
      logger,
    }),
  }),
  domain: registryDomain,
  keys: [{ key: registryKey, notBefore: 0, notAfter: 0 }],
  directory: benchDirectory,
  clock: systemClock,
  random: systemRandom,
  logger,
});
const world: WorldFile = worldFile === undefined ? { statements: [] } : JSON.parse(readFileSync(worldFile, "utf8"));
const client = createClient(
  RegistryService,
  createRouterTransport((router) => registry.routes(router)),
);
for (const { rpc, statement } of world.statements) {
  await client[rpc]({ statement: fromBinary(StatementSchema, Buffer.from(statement, "base64")) });
}
const server = createServer({
  host: "127.0.0.1",
  port: 0,
  development: true,
  tls,
  // All load comes from one address here.
  logger,
  routes: (router) => registry.routes(router),
  answers: registry.answers,
  readyStreams: registry.readyStreams,
});
await server.listen();
await serveLines<RegistryQuestion>(
  { url: server.address.url },
  (question) => {
    if (question.commits === undefined) return memory();
    const taken = commits;
    commits = [];
    return taken;
  },
  async () => {
    await server.close(0);
    await registry.close();
  },
);
