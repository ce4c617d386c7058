import { UsageError } from "../cli/exit-code.ts";
import { holdAlone, holdTogether } from "../store/alone.ts";

/**
 * Holds a file for this process alone until it ends.
 *
 * @returns lets go of it before
 * @throws UsageError if another process holds it
 */
export function mustHoldAlone(path: string): () => void {
  return held(path, holdAlone(path));
}

/**
 * Holds a file together with others of its kind until this process ends.
 *
 * @throws UsageError if another process holds it alone
 */
export function mustHoldTogether(path: string): void {
  held(path, holdTogether(path));
}

function held(path: string, release: (() => void) | undefined): () => void {
  if (release === undefined) throw new UsageError(`${path} is in use by another process; stop that one first`);
  return release;
}

/** What the readers of a registry's file hold together while they run. */
export function readersOf(databaseFile: string): string {
  return `${databaseFile}.readers`;
}
