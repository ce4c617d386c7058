import type { Command } from "commander";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import { createDeveloper, type Developer } from "../developer/developer.ts";
import { loadSigningKey } from "../developer/signing-key.ts";
import { type Connections, createConnections } from "../directory/connections.ts";
import { createPinFile } from "../directory/pin-file.ts";
import type { RegistryClient } from "../directory/registry-client.ts";
import { loadClientConfig } from "./config.ts";
import type { CliDeps } from "./deps.ts";
import { UsageError } from "./exit-code.ts";
import { Output } from "./output.ts";

/** The options that every command has. */
export type GlobalOptions = {
  readonly config?: string;
  readonly json?: boolean;
  readonly key?: string;
  readonly registry?: string;
};

/** What a running command works with. */
export type Session = {
  readonly deps: CliDeps;
  readonly output: Output;
  readonly connections: Connections;
  /** Unix seconds. */
  now(): number;
  /** The flows of the developer whose Master key is given. */
  developer(): Developer;
  /** The registry that is meant: the one of `--registry`, or the only one in the configuration. */
  registry(): RegistryClient;
};

/**
 * Runs the body of a command with connections that are closed afterwards.
 *
 * @param command as commander gives it to the command's action
 */
export async function withSession(
  command: Command,
  deps: CliDeps,
  body: (session: Session) => Promise<void>,
): Promise<void> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const { config, pinFile } = loadClientConfig(options.config, deps.env);
  const { clock, random } = deps;
  const connections = createConnections(config, { clock, random, pinStore: createPinFile(pinFile) });
  const output = new Output(deps, options.json === true);
  const registries = config.directory.filter(({ party }) => party === Party.REGISTRY).map(({ domain }) => domain);
  const session: Session = {
    deps,
    output,
    connections,
    now: () => unixSeconds(clock),
    developer: () =>
      createDeveloper({
        masterKey: loadSigningKey(keyPath(options, deps), KeyRole.MASTER),
        connections,
        clock,
        random,
        onStep: (step) => output.step(step),
      }),
    registry: () => connections.registries.forDomain(options.registry ?? onlyOne(registries)),
  };
  try {
    await body(session);
  } finally {
    connections.close();
  }
}

function keyPath({ key }: GlobalOptions, { env }: CliDeps): string {
  const path = key ?? env.OMI_KEY;
  if (path === undefined) {
    throw new UsageError("which Master key? Give the path of its file with --key or OMI_KEY, or make one: omi keygen");
  }
  return path;
}

function onlyOne(registries: readonly string[]): string {
  const [first, ...others] = registries;
  if (first === undefined || others.length > 0) {
    throw new UsageError("which registry? Give its domain with --registry");
  }
  return first;
}
