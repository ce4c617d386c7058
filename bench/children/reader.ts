import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/log.ts";
import { createRegistryReader } from "../../src/registry/reader.ts";
import { createServer } from "../../src/rpc/server.ts";
import { registryDomain, registryKey } from "../world.ts";
import { childOptions, serveLines } from "./lines.ts";
import { residentMemory } from "./memory.ts";

/** A reader beside a registry as of `registry.ts`, as it is operated, with every check switched on. */
export interface ReaderChildOptions {
  readonly databaseFile: string;
  /** Shared with other readers; 0 for any free one. */
  readonly port: number;
}

const { databaseFile, port } = childOptions<ReaderChildOptions>();
const reader = createRegistryReader({
  domain: registryDomain,
  databaseFile,
  keys: [{ key: registryKey, notBefore: 0, notAfter: 0 }],
  clock: systemClock,
});
const server = createServer({
  host: "127.0.0.1",
  port,
  reusePort: true,
  development: true,
  logger: createLogger({ level: "warn", component: "registry-reader", destination: process.stderr }),
  routes: reader.routes,
  answers: reader.answers,
});
await server.listen();
await serveLines({ url: server.address.url, port: server.address.port }, residentMemory, async () => {
  await server.close(0);
  reader.close();
});
