import type { Clock } from "../core/clock.ts";
import { systemRandom } from "../core/random.ts";
import { CommandFailure, ExitCode } from "./exit-code.ts";
import { Output } from "./output.ts";
import { type CliDeps, runProgram } from "./program.ts";

/** The machine's clock, with timers that keep the process alive: a command ends when it is done, not while it waits. */
const commandClock: Clock = {
  now: () => Date.now(),
  setTimer(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** Runs the command line of this process, and sets its exit code. */
export async function main(operator?: CliDeps["operator"]): Promise<void> {
  process.stdout.on("error", endUnwritten);
  // Then nobody can be told, but the exit code still says how the command ended.
  process.stderr.on("error", () => {});
  process.exitCode = await runProgram(process.argv.slice(2), {
    env: process.env,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    stdin: () => process.stdin,
    clock: commandClock,
    random: systemRandom,
    onInterrupt: (stop) => void process.once("SIGINT", stop),
    ...(operator !== undefined && { operator }),
  });
}

/** Ends the command when its results can't be written: half of them must not look like all. */
function endUnwritten({ code = "" }: NodeJS.ErrnoException): void {
  // A reader that has seen enough (`omi log | head`).
  if (code === "EPIPE") process.exit();
  const stderr = (text: string) => void process.stderr.write(text);
  const output = new Output({ stdout: () => {}, stderr }, process.argv.includes("--json"));
  const nextStep = "make room where the output goes, and look first what became of the command if it changes something";
  process.exit(
    output.error(new CommandFailure(`the output could not be written (${code})`, ExitCode.INTERNAL, nextStep)),
  );
}
