import { existsSync } from "node:fs";
import { join } from "node:path";
import { besideConfig, loadConfig } from "../core/config.ts";
import { type ClientConfig, clientConfigSchema } from "../directory/client-config.ts";
import { UsageError } from "./exit-code.ts";

/** Where the configuration is looked for if nobody says where it is. */
const DEFAULT_FILES = ["omi.json", join("data", "omi.json")];

const PIN_FILE = "known-registries.json";

/** A configuration and where registry keys are remembered for it. */
export type LoadedConfig = { readonly config: ClientConfig; readonly pinFile: string };

/**
 * Reads the client configuration: the file of `--config` or OMI_CONFIG, else `omi.json` or `data/omi.json`. Without any, all
 * parties are found by their domains.
 *
 * @throws ConfigError with all mistakes; UsageError if a file was named that is not there
 */
export function loadClientConfig(
  named: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): LoadedConfig {
  const file = named ?? env.OMI_CONFIG ?? DEFAULT_FILES.find((path) => existsSync(path));
  if (file !== undefined && !existsSync(file)) throw new UsageError(`${file} does not exist`);
  const config = loadConfig(clientConfigSchema, { file, env: {}, prefix: "OMI_" });
  return { config, pinFile: file === undefined ? pinFileOfUser(env) : besideConfig(file, PIN_FILE) };
}

function pinFileOfUser(env: Readonly<Record<string, string | undefined>>): string {
  return join(env.HOME ?? env.USERPROFILE ?? ".", ".omi", PIN_FILE);
}
