import { closeSync, openSync } from "node:fs";
import { UnusableFileError } from "../core/unusable-file.ts";

/**
 * Makes a file that its owner alone can read, unless it is there already.
 *
 * @throws UnusableFileError if it can't be made, or can't be written
 */
export function makeFile(path: string): void {
  try {
    closeSync(openSync(path, "a", 0o600));
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const nextStep = "Check the path: its folder must be there, and this user must be allowed to write to it.";
    throw new UnusableFileError(`${path} can't be opened (${code})`, nextStep, error);
  }
}
