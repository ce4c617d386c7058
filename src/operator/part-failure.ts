import { readFileSync } from "node:fs";
import { CommandFailure, ExitCode } from "../cli/exit-code.ts";
import type { RunningMember } from "./processes.ts";

/** Says of a part which does not run what there is to know: how it ended, its last error, and where its log is. */
export function partFailure({ name, logFile, logStart, process }: RunningMember): CommandFailure {
  const { exitCode, signalCode } = process;
  const how =
    signalCode !== null
      ? `was ended by ${signalCode}`
      : exitCode === null
        ? "does not serve in time"
        : `has ended by itself, with ${exitCode}`;
  const last = lastError(readFileSync(logFile).subarray(logStart).toString());
  return new CommandFailure(
    `${name} ${how}${last === undefined ? "" : `: ${last}`}`,
    signalCode === null && exitCode === null ? ExitCode.UNAVAILABLE : asExitCode(exitCode),
    `see ${logFile}, and try again`,
  );
}

/** That of the part, if it says something: it runs the same program. */
function asExitCode(code: number | null): ExitCode {
  return Object.values(ExitCode).find((known) => known === code && known !== ExitCode.OK) ?? ExitCode.INTERNAL;
}

/** The last error in a log, in one line: what the part logged as one, or what its command ended with. */
function lastError(log: string): string | undefined {
  const lines = log.split("\n");
  for (let at = lines.length - 1; at >= 0; at--) {
    const line = lines[at] ?? "";
    if (line.startsWith("error: ")) return [line.slice("error: ".length), ...detailsBelow(lines, at)].join("; ");
    const logged = errorLogged(line);
    if (logged !== undefined) return logged;
  }
  return undefined;
}

/** The lines of a message or a configuration's mistakes, but not a stack. */
function detailsBelow(lines: readonly string[], at: number): string[] {
  const rest = lines.slice(at + 1);
  const end = rest.findIndex((line) => !/^ {2}(?! *at )/.test(line));
  return rest.slice(0, end).map((line) => line.trim());
}

function errorLogged(line: string): string | undefined {
  try {
    const { level, msg, err } = JSON.parse(line);
    if (level !== "error" && level !== "fatal") return undefined;
    return err === undefined ? String(msg) : `${msg}: ${err.message}`;
  } catch {
    return undefined; // it is not of the log
  }
}
