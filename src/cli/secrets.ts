import { readFileSync } from "node:fs";
import type { CliDeps } from "./deps.ts";
import { UsageError } from "./exit-code.ts";

/** Stands for the standard input where a path is expected. */
export const STDIN = "-";

/**
 * Reads a secret from a file, from the standard input, or from an environment variable. Never from the command line, which
 * every user of the machine can see. One line break at the end is not part of it.
 *
 * @param path of the file, or {@link STDIN}; the variable counts if it is left out
 * @throws UsageError if there is none, or it is not UTF-8
 */
export async function readSecret(
  { env, stdin }: Pick<CliDeps, "env" | "stdin">,
  path: string | undefined,
  { variable, option }: { variable: string; option: string },
): Promise<string> {
  const secret = path === undefined ? env[variable] : await readText(path, stdin);
  const text = secret?.replace(/\r?\n$/, "") ?? "";
  if (text === "")
    throw new UsageError(`nothing to read: give ${option} (a path, or - for standard input) or ${variable}`);
  // Stands for what could not be decoded, so that secrets which differ there would be the same one.
  if (text.includes("\u{FFFD}")) throw new UsageError(`${path ?? variable} is not UTF-8`);
  return text;
}

async function readText(path: string, stdin: () => Promise<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  if (path === STDIN) return decoder.decode(await stdin());
  try {
    return decoder.decode(readFileSync(path));
  } catch (error) {
    throw new UsageError(`${path} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
