import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { z } from "zod";

/** One thing that is wrong with a configuration. */
export type ConfigMistake = {
  /** The setting, e.g. `registry.domain`; empty for the file as a whole. */
  readonly path: string;
  /** What is expected there. Never the value that was found: it may be a secret. */
  readonly expected: string;
  /** The file or environment variable that the value comes from, if known. */
  readonly source?: string;
};

/** A configuration that cannot be used, with everything that is wrong with it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly mistakes: readonly ConfigMistake[];

  constructor(mistakes: readonly ConfigMistake[]) {
    super(["the configuration has mistakes:", ...mistakes.map(line)].join("\n  "));
    this.mistakes = mistakes;
  }
}

function line({ path, expected, source }: ConfigMistake): string {
  return `${path === "" ? "" : `${path}: `}${expected}${source === undefined ? "" : ` (from ${source})`}`;
}

/** Where a configuration comes from. */
export type ConfigSources = {
  /** Path of a JSON file; without it, there is only the environment. */
  readonly file?: string | undefined;
  /** Usually `process.env`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Which variables are ours, e.g. `OMI_`. Each must match a setting. */
  readonly prefix: string;
};

type Override = { readonly variable: string; readonly path: readonly string[]; readonly value: unknown };

/**
 * Reads a configuration from a JSON file and the environment, which wins.
 *
 * `OMI_REGISTRY__BASE_URL` sets `registry.baseUrl`: two underscores lead one level deeper, one stands between the words of
 * a name. A value is taken as JSON where it is JSON, else as a string; a string that looks like a number must be quoted.
 *
 * @param schema - build its objects with `z.strictObject`, so that a misspelt setting or variable is found
 * @throws ConfigError with all mistakes at once
 */
export function loadConfig<Schema extends z.ZodType>(schema: Schema, sources: ConfigSources): z.output<Schema> {
  const { file } = sources;
  const settings = file === undefined ? {} : readSettings(file);
  const mistakes: ConfigMistake[] = [];
  const overrides = overridesOf(sources);
  for (const { path, value, variable } of overrides) {
    if (set(settings, path, value)) continue;
    mistakes.push({ path: path.join("."), expected: "an object above it", source: `environment ${variable}` });
  }
  const result = schema.safeParse(settings);
  if (!result.success) mistakes.push(...result.error.issues.flatMap((issue) => mistakesOf(issue)));
  if (!result.success || mistakes.length > 0) throw new ConfigError(mistakes);
  return result.data;

  function mistakesOf(issue: z.core.$ZodIssue): ConfigMistake[] {
    const path = issue.path.map(String);
    if (issue.code !== "unrecognized_keys") return [mistake(path, issue.message)];
    return issue.keys.map((key) => mistake([...path, key], "no such setting"));
  }

  function mistake(path: readonly string[], expected: string): ConfigMistake {
    const variable = overrides.findLast((override) => override.path.every((name, i) => name === path[i]))?.variable;
    const source = variable !== undefined ? `environment ${variable}` : has(settings, path) ? file : undefined;
    return { path: path.join("."), expected, ...(source !== undefined && { source }) };
  }
}

/**
 * For a refinement's `when`: that something else is wrong doesn't keep it from looking, so that all mistakes are told at once.
 * What it looks at may then have any form.
 */
export function alsoBesideOthers(): boolean {
  return true;
}

/**
 * A path in a configuration file, relative to that file's folder (or, without a file, to the working folder).
 */
export function besideConfig(file: string | undefined, path: string): string {
  return file === undefined ? resolve(path) : resolve(dirname(file), path);
}

type Settings = Record<string, unknown>;

function readSettings(file: string): Settings {
  try {
    const settings: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (isObject(settings)) return settings;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? ` (${error.code})` : "";
    throw new ConfigError([{ path: "", expected: `a readable JSON file${code}`, source: file }]);
  }
  throw new ConfigError([{ path: "", expected: "a JSON object", source: file }]);
}

// Sorted, so that a variable for an object comes before the variables for what is in it.
function overridesOf({ env, prefix }: ConfigSources): Override[] {
  const variables = Object.keys(env).filter((name) => name.startsWith(prefix) && env[name] !== undefined);
  return variables.sort().map((variable) => ({
    variable,
    path: variable.slice(prefix.length).split("__").map(camelCase),
    value: parse(env[variable] ?? ""),
  }));
}

function camelCase(name: string): string {
  return name.toLowerCase().replace(/_([a-z0-9])/g, (_, next: string) => next.toUpperCase());
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// False if something above the setting is not an object.
function set(settings: Settings, [name = "", ...below]: readonly string[], value: unknown): boolean {
  if (below.length === 0) {
    settings[name] = value;
    return true;
  }
  if (!Object.hasOwn(settings, name)) settings[name] = {};
  const next = settings[name];
  return isObject(next) && set(next, below, value);
}

function has(settings: unknown, [name, ...below]: readonly string[]): boolean {
  if (name === undefined) return true;
  return isObject(settings) && Object.hasOwn(settings, name) && has(settings[name], below);
}

function isObject(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
