import { main as runCli } from "./cli/main.ts";
import { addOperatorCommands } from "./operator/program.ts";

/** Runs the command line of this process: the CLI, and the commands of those who run parts. */
export function main(): Promise<void> {
  return runCli(addOperatorCommands);
}
