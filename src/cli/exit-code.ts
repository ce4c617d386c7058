import { Code } from "@connectrpc/connect";
import { CommanderError } from "commander";
import { ConfigError } from "../core/config.ts";
import { KeyFileError } from "../core/key-file.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { UnusableFileError } from "../core/unusable-file.ts";
import { codeOf } from "../rpc/call/codes.ts";
import { RemoteRefusal } from "../rpc/call/errors.ts";

/** How the command ended, for scripts. */
export const ExitCode = {
  /** It did what it was asked to. */
  OK: 0,
  /** A party of the mesh refused; its Reason is on the standard error. */
  REFUSED: 1,
  /** The command line, the configuration, a key file or a database file is wrong; nothing was sent. */
  USAGE: 2,
  /** Somebody can't be reached or took too long; the same command may be tried again. */
  UNAVAILABLE: 3,
  /** Something signed does not verify. */
  UNVERIFIED: 4,
  /** The command itself is at fault, or what it had to say could not be written. */
  INTERNAL: 70,
} as const;

/** One of {@link ExitCode}. */
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The exit codes for `--help`. */
export const EXIT_CODE_HELP = `
Exit codes:
  0   done
  1   a party of the mesh refused (the Reason is on standard error)
  2   wrong usage, configuration, key file or database file; nothing was sent
  3   somebody can't be reached or took too long; try again
  4   something signed does not verify
  70  a fault in omi itself, or the output could not be written
`;

/** A command line that can't be meant. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A command that could not do its work, for a reason that is known and is no fault in omi. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly exitCode: ExitCode;
  /** What to do about it. */
  readonly nextStep: string;

  constructor(message: string, exitCode: ExitCode, nextStep: string) {
    super(message);
    this.exitCode = exitCode;
    this.nextStep = nextStep;
  }
}

/** Something signed was looked at and does not verify; what is wrong was printed. */
export class UnverifiedError extends Error {
  override readonly name = "UnverifiedError";
}

const USAGE_ERRORS = [UsageError, KeyFileError, ConfigError, UnusableFileError] as const;

/** How a command that threw `error` ends. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  if (USAGE_ERRORS.some((kind) => error instanceof kind)) return ExitCode.USAGE;
  if (error instanceof CommandFailure) return error.exitCode;
  if (error instanceof UnverifiedError) return ExitCode.UNVERIFIED;
  return error instanceof Refusal ? exitCodeOfRefusal(error) : ExitCode.INTERNAL;
}

function exitCodeOfRefusal(refusal: Refusal): ExitCode {
  const code = codeOf(refusal.reason);
  if (code === Code.Unavailable || code === Code.DeadlineExceeded) return ExitCode.UNAVAILABLE;
  if (refusal instanceof RemoteRefusal) return ExitCode.REFUSED;
  return OWN_FINDINGS[refusal.reason] ?? ExitCode.REFUSED;
}

/** What this side of a call finds itself. */
const OWN_FINDINGS: Partial<Record<Reason, ExitCode>> = {
  [Reason.MALFORMED]: ExitCode.USAGE,
  [Reason.TOO_LARGE]: ExitCode.USAGE,
  [Reason.FIELD_INVALID]: ExitCode.USAGE,
  [Reason.KEY_INVALID]: ExitCode.USAGE,
  [Reason.PROVIDER_UNKNOWN]: ExitCode.UNAVAILABLE,
  [Reason.ADDRESS_NOT_ALLOWED]: ExitCode.UNAVAILABLE,
  [Reason.RATE_LIMITED]: ExitCode.UNAVAILABLE,
  [Reason.ANSWER_INVALID]: ExitCode.UNVERIFIED,
  [Reason.REGISTRY_ROLLED_BACK]: ExitCode.UNVERIFIED,
  [Reason.TOKEN_INVALID]: ExitCode.UNVERIFIED,
  [Reason.TOKEN_EXPIRED]: ExitCode.UNVERIFIED,
};
