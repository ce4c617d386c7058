import { UsageError } from "../cli/exit-code.ts";
import { holdAlone } from "../store/alone.ts";

/**
 * Holds a file for this process alone until it ends.
 *
 * @returns lets go of it before
 * @throws UsageError if another process holds it
 */
export function mustHoldAlone(path: string): () => void {
  const release = holdAlone(path);
  if (release === undefined) throw new UsageError(`${path} is in use by another process; stop that one first`);
  return release;
}
