import type { JsonValue } from "@bufbuild/protobuf";
import { CommanderError } from "commander";
import { isRefusal, reasonName } from "../core/refusal.ts";
import { describeStep, type Step } from "../developer/step.ts";
import type { CliDeps } from "./deps.ts";
import { CommandFailure, ExitCode, exitCodeOf, UnverifiedError } from "./exit-code.ts";
import { asText, printable, printableJson } from "./text.ts";

/**
 * How a command talks: for people, or with `--json` for machines. Results on standard output, all else on standard error. What
 * is in them comes from others and may reach a terminal, so it is {@link printable} whatever way it is shown.
 */
export class Output {
  readonly #deps: Pick<CliDeps, "stdout" | "stderr">;
  readonly #json: boolean;

  constructor(deps: Pick<CliDeps, "stdout" | "stderr">, json: boolean) {
    this.#deps = deps;
    this.#json = json;
  }

  /** The one result of a command: a JSON document, or `text` of what is printable, by default the same in lines. */
  result(json: JsonValue, text: () => string = () => asText(json)): void {
    this.#deps.stdout(this.#json ? `${printableJson(json, 2)}\n` : text());
  }

  /** One of many results: a line of JSON, or a line of text. */
  item(json: JsonValue, text: string): void {
    this.#deps.stdout(`${this.#json ? printableJson(json) : printable(text)}\n`);
  }

  /** What people may want to know beside the result. */
  note(text: string): void {
    if (!this.#json) this.#deps.stderr(`${printable(text)}\n`);
  }

  /** A step of a flow. */
  step(step: Step): void {
    this.note(describeStep(step));
  }

  /**
   * Why a command failed: Reason, message and next step, and with `--json` all of it as one line.
   *
   * @returns the exit code that belongs to it
   */
  error(error: unknown): ExitCode {
    const exitCode = exitCodeOf(error);
    // What the commands that verify have to say is written already; what commander has, if it is for people.
    if (error instanceof UnverifiedError || exitCode === ExitCode.OK) return exitCode;
    if (error instanceof CommanderError && !this.#json) return exitCode;
    const shown = errorShown(error, exitCode);
    this.#deps.stderr(this.#json ? `${printableJson({ error: shown })}\n` : errorText(shown));
    return exitCode;
  }
}

type ErrorShown = {
  readonly reason?: string;
  readonly message: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly next_step?: string;
};

function errorShown(error: unknown, exitCode: ExitCode): ErrorShown {
  if (isRefusal(error)) {
    const { reason, message, metadata, nextStep } = error;
    return { reason: reasonName(reason), message, metadata, next_step: nextStep };
  }
  if (!(error instanceof Error)) return { message: String(error) };
  if (error instanceof CommanderError) return { message: usageMistake(error), next_step: "add --help for more" };
  const next = "nextStep" in error && typeof error.nextStep === "string" ? { next_step: error.nextStep } : {};
  if (exitCode !== ExitCode.INTERNAL || error instanceof CommandFailure) return { message: error.message, ...next };
  return { message: `internal error: ${error.stack ?? error.message}` };
}

function usageMistake({ code, message }: CommanderError): string {
  // Then help is shown to people, and the message is none.
  return code === "commander.help" ? "a command is missing" : message.replace(/^error: /, "");
}

function errorText({ reason, message, metadata = {}, next_step: nextStep }: ErrorShown): string {
  const facts = Object.entries(metadata).map(([name, value]) => `  ${printable(name)}: ${printable(value)}\n`);
  const prefix = reason === undefined ? "error" : `error: ${reason}`;
  const lines = message.split("\n").map(printable).join("\n");
  const next = nextStep === undefined ? "" : `next: ${printable(nextStep)}\n`;
  return `${prefix}: ${lines}\n${facts.join("")}${next}`;
}
