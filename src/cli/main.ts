import type { Clock } from "../core/clock.ts";
import { systemRandom } from "../core/random.ts";
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
  // A reader that has seen enough (`omi log | head`) ends the command.
  process.stdout.on("error", () => process.exit());
  process.exitCode = await runProgram(process.argv.slice(2), {
    env: process.env,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    stdin: readStdin,
    clock: commandClock,
    random: systemRandom,
    onInterrupt: (stop) => void process.once("SIGINT", stop),
    ...(operator !== undefined && { operator }),
  });
}

async function readStdin(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return new Uint8Array(Buffer.concat(chunks));
}
