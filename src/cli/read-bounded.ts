import { createReadStream } from "node:fs";
import type { CliDeps } from "./deps.ts";
import { UsageError } from "./exit-code.ts";

/** Stands for the standard input where a path is expected. */
export const STDIN = "-";

/**
 * Reads a file or the standard input, and no further than its bound: either may be a device or a pipe that never ends.
 *
 * @param path of the file, or {@link STDIN}
 * @throws UsageError if it can't be read, or is longer than `maxBytes`
 */
export async function readBounded(
  path: string,
  { stdin }: Pick<CliDeps, "stdin">,
  maxBytes: number,
): Promise<Uint8Array> {
  const name = path === STDIN ? "the standard input" : path;
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of path === STDIN ? stdin() : createReadStream(path)) {
      length += chunk.length;
      if (length > maxBytes) throw new UsageError(`${name} is longer than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${name} can't be read (${(error as NodeJS.ErrnoException).code})`);
  }
  return new Uint8Array(Buffer.concat(chunks));
}
