import { UsageError } from "../cli/exit-code.ts";
import { systemClock } from "../core/clock.ts";
import { besideConfig, loadConfig } from "../core/config.ts";
import { createLogger } from "../core/log.ts";
import { systemRandom } from "../core/random.ts";
import { createConnections } from "../directory/connections.ts";
import { createPinFile } from "../directory/pin-file.ts";
import { Readiness } from "../rpc/handlers/readiness.ts";
import { createServer } from "../rpc/server.ts";
import { processConfigSchema } from "./config.ts";
import { mustHoldAlone } from "./hold.ts";
import { createPart, databaseFilesOf, partName } from "./parts.ts";

/** Which signals stop a process. */
const stopSignals = ["SIGINT", "SIGTERM"] as const;

/** Why an address can't be had, if it is the configuration's fault. */
const CANNOT_LISTEN: ReadonlySet<string> = new Set(["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ENOTFOUND"]);

/**
 * Runs the part that a configuration is for until the process is told to stop (SIGINT, SIGTERM): calls under way are
 * finished, then the files are closed. SIGHUP makes it read its TLS files again.
 *
 * @throws ConfigError with all mistakes at once, UsageError if another process has the part's files, or what the part can't
 *   start with
 */
export async function serve(file: string | undefined, env: NodeJS.ProcessEnv): Promise<void> {
  const config = loadConfig(processConfigSchema, { file, env, prefix: "OMI_SERVE_" });
  const logger = createLogger({ level: config.log.level, component: partName(config) });
  const connections = createConnections(config.mesh, {
    clock: systemClock,
    random: systemRandom,
    ...(config.pinFile === undefined ? {} : { pinStore: createPinFile(besideConfig(file, config.pinFile)) }),
  });
  for (const databaseFile of databaseFilesOf(config)) mustHoldAlone(besideConfig(file, databaseFile));
  const part = await createPart(config, { connections, logger, file });
  const { tls, stopGraceSeconds, ...listen } = config.server;
  const readiness = new Readiness();
  const server = createServer({
    ...listen,
    limits: Object.fromEntries(Object.entries(listen.limits).filter(([, value]) => value !== undefined)),
    tls: tls && { certFile: besideConfig(file, tls.certFile), keyFile: besideConfig(file, tls.keyFile) },
    development: config.mesh.development,
    routes: (router) => part.routes(router),
    httpRoutes: part.httpRoutes,
    answers: part.answers,
    readyStreams: part.readyStreams,
    logger,
    readiness,
  });
  const stopped = new Promise<string>((resolve) => {
    for (const signal of stopSignals) process.once(signal, () => resolve(signal));
  });
  // Without TLS there is nothing to read again, and a closed terminal ends the process as it does by default.
  if (tls !== undefined) process.on("SIGHUP", () => void server.reloadTls());
  await server.listen().catch((error: NodeJS.ErrnoException) => {
    throw CANNOT_LISTEN.has(error.code ?? "")
      ? new UsageError(`${error.message}: choose another server.port or server.host`)
      : error;
  });
  logger.info({ address: server.address.url }, "listening");
  await part.start();

  logger.info({ signal: await stopped }, "stopping");
  await server.close(stopGraceSeconds * 1000);
  await part.stop();
  connections.close();
  logger.info("stopped");
}
