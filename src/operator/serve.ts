import { UsageError } from "../cli/exit-code.ts";
import { systemClock } from "../core/clock.ts";
import { besideConfig, loadConfig } from "../core/config.ts";
import { createLogger } from "../core/log.ts";
import { systemRandom } from "../core/random.ts";
import { createConnections } from "../directory/connections.ts";
import { createPinFile } from "../directory/pin-file.ts";
import { Readiness } from "../rpc/handlers/readiness.ts";
import { createServer } from "../rpc/server.ts";
import { type ProcessConfig, processConfigSchema } from "./config.ts";
import { defined } from "./defined.ts";
import { mustHoldAlone, mustHoldTogether, readersOf } from "./hold.ts";
import { createPart, createReaderPart, databaseFilesOf, partName, type ReaderSettings } from "./parts.ts";

/** Which signals stop a process. */
export const stopSignals = ["SIGINT", "SIGTERM"] as const;

/** Why an address can't be had, if it is the configuration's fault. */
const CANNOT_LISTEN: ReadonlySet<string> = new Set(["EADDRINUSE", "EADDRNOTAVAIL", "EACCES", "ENOTFOUND"]);

/**
 * Runs the part that a configuration is for until the process is told to stop (SIGINT, SIGTERM): calls under way are
 * finished, then the files are closed. SIGHUP makes it read its TLS files again.
 *
 * @param isReader - runs a reader of the registry that the configuration is for, instead of that registry
 * @throws ConfigError with all mistakes at once, UsageError if another process has the part's files, what the part can't
 *   start with, or why it can't go on
 */
export async function serve(file: string | undefined, env: NodeJS.ProcessEnv, isReader: boolean): Promise<void> {
  const config = loadConfig(processConfigSchema, { file, env, prefix: "OMI_SERVE_" });
  const reader = isReader ? readerOf(config) : undefined;
  const { tls, stopGraceSeconds, ...listen } = {
    ...config.server,
    ...(reader && { port: reader.readerPort, reusePort: true }),
  };
  const logger = createLogger({ level: config.log.level, component: isReader ? "registry-reader" : partName(config) });
  const connections = createConnections(config.mesh, {
    clock: systemClock,
    random: systemRandom,
    ...(config.pinFile === undefined ? {} : { pinStore: createPinFile(besideConfig(file, config.pinFile)) }),
  });
  for (const databaseFile of databaseFilesOf(config)) {
    const path = besideConfig(file, databaseFile);
    if (isReader) mustHoldTogether(readersOf(path));
    else mustHoldAlone(path);
  }
  const deps = { connections, logger, file };
  const part = reader === undefined ? await createPart(config, deps) : createReaderPart(config, reader, deps);
  const readiness = new Readiness();
  const server = createServer({
    ...listen,
    limits: defined(listen.limits),
    tls: tls && { certFile: besideConfig(file, tls.certFile), keyFile: besideConfig(file, tls.keyFile) },
    development: config.mesh.development,
    routes: (router) => part.routes(router),
    httpRoutes: part.httpRoutes,
    answers: part.answers,
    readyStreams: part.readyStreams,
    logger,
    readiness,
  });
  const told = new Promise<string>((resolve) => {
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
  const untilEnd = Promise.race(part.outdated === undefined ? [told] : [told, part.outdated]);
  // A part that can't start ends as well: who supervises the process can't know that it would never do its work.
  const why = await part.start().then(
    () => untilEnd,
    (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
  );

  logger.info(why instanceof Error ? { reason: why.message } : { signal: why }, "stopping");
  await server.close(stopGraceSeconds * 1000);
  await part.stop();
  connections.close();
  logger.info("stopped");
  if (why instanceof Error) throw why;
}

function readerOf({ registry }: ProcessConfig): ReaderSettings {
  if (registry === undefined) throw new UsageError("--reader: only a registry has readers");
  const { readerPort } = registry;
  if (readerPort === undefined) throw new UsageError("--reader: set registry.readerPort, the port that readers share");
  return { ...registry, readerPort };
}
