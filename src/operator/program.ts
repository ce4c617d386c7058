import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { addUser } from "../auth/add-user.ts";
import type { CliDeps } from "../cli/deps.ts";
import { CommandFailure, ExitCode, UnverifiedError, UsageError } from "../cli/exit-code.ts";
import { readSecret } from "../cli/secrets.ts";
import { loadConfig } from "../core/config.ts";
import { isDomain } from "../core/domain.ts";
import { playDemo } from "../demo/demo.ts";
import { orAborted } from "../rpc/call/abort.ts";
import { rebuildRegistry, startPersistentMesh } from "./commands.ts";
import { processConfigSchema } from "./config.ts";
import { partFailure } from "./part-failure.ts";
import type { RunningMesh } from "./processes.ts";
import { type EventsReset, listeningPart, resetEvents, type StoppedService } from "./reset-events.ts";
import { serve, stopSignals } from "./serve.ts";

const defaultFolder = "data";
const defaultPort = 7100;

/** Adds the commands of those who run parts: `serve`, `start`, `demo`, `registry rebuild`, `auth-provider add-user`, `events reset`. */
export function addOperatorCommands(program: Command, deps: CliDeps): void {
  program
    .command("serve")
    .description("run one part of the mesh until told to stop (SIGINT, SIGTERM)")
    .argument("<file>", "the part's configuration, JSON")
    .option("--reader", "answer the reads of the registry that runs with this configuration, beside it")
    .addHelpText(
      "after",
      `
Settings can also come from the environment: OMI_SERVE_SERVER__PORT=7200 sets server.port.

A registry answers with one processor. Readers answer its reads (ResolverService) with more: as many processes as wanted, all on
the port registry.readerPort.

Examples:
  $ npx omi serve data/registry/config.json
  $ OMI_SERVE_REGISTRY__READER_PORT=7180 npx omi serve data/registry/config.json --reader`,
    )
    .action((file: string, { reader = false }: { reader?: boolean }) => serve(file, process.env, reader));

  program
    .command("start")
    .description("run a development mesh on this machine that keeps its data")
    .option("--data <folder>", "where keys, configurations and data are", defaultFolder)
    .option("--port <number>", "the first of five ports", parsePort, defaultPort)
    .addHelpText("after", "\nExample:\n  $ npx omi start --data ./data --port 7100")
    .action(({ data, port }: { data: string; port: number }) => start(data, port));

  program
    .command("demo")
    .description("play the four workflows on separate processes with temporary data")
    .option("--nats", "carry events over a nats-server, which must be installed")
    .addHelpText(
      "after",
      "\nExits with 0 only if every outcome, refusals included, is as expected.\n\nExample:\n  $ npx omi demo",
    )
    .action(async (options: { nats?: boolean }) => {
      if (!(await playDemo(print, options, toldToStop())))
        throw new UnverifiedError("not every outcome was as expected");
    });

  program
    .command("registry")
    .description("maintain a registry's database")
    .command("rebuild")
    .description("recreate all tables of a stopped registry from its log, and compare")
    .requiredOption("--database <file>", "the registry's SQLite file")
    .addHelpText(
      "after",
      `
Exits with 4 if the tables differ from what the log says; they are then as the log says.

Example:
  $ npx omi registry rebuild --database data/registry/registry.db`,
    )
    .action(({ database }: { database: string }) => {
      const { json } = program.opts<{ json?: boolean }>();
      if (!existsSync(database)) throw new UsageError(`${database} does not exist`);
      const report = rebuildRegistry(database, (entries) => {
        if (json !== true && process.stderr.isTTY) process.stderr.write(`\r${entries} entries`);
      });
      print(json === true ? JSON.stringify(report) : describeReport(report));
      if (!report.equal) throw new UnverifiedError("the tables differed from the log");
    });

  program
    .command("auth-provider")
    .description("maintain an Auth Provider's database")
    .command("add-user")
    .description("add a user to an app, whether strangers may sign up or not; the provider may be running")
    .argument("<app-id>", "the app")
    .requiredOption("--database <file>", "the provider's SQLite file")
    .requiredOption("--user <name>", "the user's name or e-mail address")
    .option("--password-file <path>", "the password, - for standard input; OMI_PASSWORD if left out")
    .addHelpText(
      "after",
      `
Example:
  $ npx omi auth-provider add-user org.omiappreg.alice.business_app.7f8a9d --user bob \\
      --database data/auth-provider/auth.db --password-file bob.txt`,
    )
    .action(async (appId: string, { database, user: userName, passwordFile }: AddUserOptions) => {
      if (!existsSync(database)) throw new UsageError(`${database} does not exist`);
      const password = await readSecret(deps, passwordFile, { variable: "OMI_PASSWORD", option: "--password-file" });
      const subject = await addUser(database, { appId, userName, password }, deps);
      const { json } = program.opts<{ json?: boolean }>();
      deps.stdout(`${json === true ? JSON.stringify({ subject }) : subject}\n`);
    });

  program
    .command("events")
    .description("maintain what a stopped part knows of events")
    .command("reset")
    .description("have a part forget how far it came with a registry's events, and read them anew")
    .argument("<file>", "the part's configuration, JSON, as for serve")
    .option("--yes", "do it; without, only what would become of it is shown")
    .addHelpText(
      "after",
      `
For a registry whose history is another one for good, such as one that was restored from an old backup: its parts say
REGISTRY_ROLLED_BACK and grant nothing until it is what it was, or this was done in each of them. What was taken back since the
backup counts again then, but for services that this part saw unbound. First make sure that it is the registry's operator who
says so.

Example:
  $ npx omi events reset data/journal/config.json --registry omi-registry.test
  $ npx omi events reset data/journal/config.json --registry omi-registry.test --yes`,
    )
    .action((file: string, { yes = false }: { yes?: boolean }) => {
      const { json, registry } = program.opts<{ json?: boolean; registry?: string }>();
      if (registry === undefined || !isDomain(registry)) {
        throw new UsageError("--registry <domain>: say whose history is to be taken as it is now");
      }
      const config = loadConfig(processConfigSchema, { file, env: process.env, prefix: "OMI_SERVE_" });
      if (config.registry !== undefined) throw new UsageError("a registry listens to nobody's events");
      const { databaseFile } = listeningPart(config, file);
      if (!existsSync(databaseFile)) throw new UsageError(`${databaseFile} does not exist`);
      const reset = resetEvents(config, { file, registry, isToBe: yes });
      if (reset === undefined) throw new UsageError(`this part knows nothing of ${registry}`);
      print(json === true ? JSON.stringify(resetJson(registry, yes, reset)) : describeReset(registry, yes, reset));
    });
}

type AddUserOptions = { database: string; user: string; passwordFile?: string };

async function start(folder: string, port: number): Promise<void> {
  const told = toldToStop();
  const mesh = await startPersistentMesh(resolve(folder), port, told).catch((error: unknown) => {
    if (told.aborted) return undefined;
    throw error;
  });
  if (mesh === undefined) return;
  print(describeMesh(mesh, folder));
  const ended = await orAborted(mesh.firstExit, told).catch(() => undefined);
  print("stopping");
  await mesh.stop();
  if (ended !== undefined) throw partFailure(ended);
}

/** Aborts when this process is told to stop, which then doesn't end it: the processes that it has started would go on. */
function toldToStop(): AbortSignal {
  const told = new AbortController();
  const reason = new CommandFailure("it was told to stop", ExitCode.UNAVAILABLE, "run it again");
  for (const name of stopSignals) process.once(name, () => told.abort(reason));
  return told.signal;
}

function describeMesh({ running }: RunningMesh, folder: string): string {
  const parts = running.map(
    ({ name, domain, port, logFile }) =>
      `  ${name.padEnd(14)} ${domain.padEnd(18)} http://127.0.0.1:${port}   log ${logFile}`,
  );
  return `The mesh runs; its data is in ${folder}. Stop it with Ctrl+C.

${parts.join("\n")}

Next, in another terminal:
  npx omi keygen --role master --out master.json
  export OMI_KEY=master.json
  npx omi namespace claim alice
  npx omi app register alice shop --name "My shop"
  npx omi --help`;
}

function describeReport({ entries, equal, after }: { entries: number; equal: boolean; after: string }): string {
  return `${entries} entries applied; the tables ${equal ? "are as they were" : "DIFFERED and are now as the log says"}. Digest ${after}`;
}

function resetJson(registry: string, isDone: boolean, { databaseFile, seen, apps, revoked, suspended }: EventsReset) {
  const services = (list: readonly StoppedService[]) =>
    list.map(({ appId, serviceId }) => ({ app_id: appId, service_id: serviceId }));
  return {
    registry,
    database: databaseFile,
    done: isDone,
    forgotten: {
      log_index: seen.index,
      ...(seen.head && { head: seen.head }),
      apps: apps.map(({ appId, sequence }) => ({ app_id: appId, sequence })),
    },
    stay_revoked: services(revoked),
    suspended_until_history_says: services(suspended),
  };
}

function describeReset(
  registry: string,
  isDone: boolean,
  { databaseFile, seen, apps, revoked, suspended }: EventsReset,
): string {
  const lines = (list: readonly string[]) => list.map((line) => `  ${line}\n`).join("");
  const services = (list: readonly StoppedService[]) =>
    lines(list.map(({ appId, serviceId }) => `${appId} ${serviceId}`));
  const head = seen.head && `, its head at ${seen.head.index} with the hash ${seen.head.hash}`;
  return `${databaseFile} ${isDone ? "has forgotten" : "would forget"} of ${registry}:
  its log up to index ${seen.index}${head ?? ""}
${lines(apps.map(({ appId, sequence }) => `${appId} up to event ${sequence}`))}
${revoked.length} services stay revoked in this part, whatever the registry says of them:
${services(revoked)}
${suspended.length} services are suspended in this part until the registry's history says something else of them:
${services(suspended)}
Everything else that the registry took back and no longer knows of counts again: keys, suspensions and unbindings that this part
has not seen. ${
    isDone
      ? "At its next start the part reads all events anew; until it has, it grants nothing."
      : "Nothing was changed. Run the same with --yes to do it."
  }`;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_530) return port;
  throw new InvalidArgumentError("a port from 1 to 65530");
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
