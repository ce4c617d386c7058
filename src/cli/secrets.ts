import type { CliDeps } from "./deps.ts";
import { UsageError } from "./exit-code.ts";
import { readBounded } from "./read-bounded.ts";

/** In bytes; far more than a password or a token has. */
const MAX_SECRET_LENGTH = 65_536;

/**
 * Reads a secret from a file, from the standard input, or from an environment variable. Never from the command line, which
 * every user of the machine can see. One line break at the end is not part of it.
 *
 * @param path of the file, or `-`; the variable counts if it is left out
 * @throws UsageError if there is none, it is longer than 64 KiB, or it is not UTF-8
 */
export async function readSecret(
  deps: Pick<CliDeps, "env" | "stdin">,
  path: string | undefined,
  { variable, option }: { variable: string; option: string },
): Promise<string> {
  const secret =
    path === undefined
      ? deps.env[variable]
      : new TextDecoder().decode(await readBounded(path, deps, MAX_SECRET_LENGTH));
  const text = secret?.replace(/\r?\n$/, "") ?? "";
  if (text === "")
    throw new UsageError(`nothing to read: give ${option} (a path, or - for standard input) or ${variable}`);
  // Stands for what could not be decoded, so that secrets which differ there would be the same one.
  if (text.includes("\u{FFFD}")) throw new UsageError(`${path ?? variable} is not UTF-8`);
  return text;
}
