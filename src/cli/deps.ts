import type { Command } from "commander";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";

/** What the commands need of the process around them. */
export type CliDeps = {
  /** Usually `process.env`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes results. */
  readonly stdout: (text: string) => void;
  /** Writes everything else. */
  readonly stderr: (text: string) => void;
  /** Begins to read the standard input. */
  readonly stdin: () => AsyncIterable<Uint8Array>;
  /** Its timers must keep the process alive. */
  readonly clock: Clock;
  readonly random: Random;
  /** Calls `stop` when the user interrupts (Ctrl-C), instead of ending the process. */
  readonly onInterrupt: (stop: () => void) => void;
  /** Adds the commands of whoever runs parts of the mesh. */
  readonly operator?: (program: Command, deps: CliDeps) => void;
};
