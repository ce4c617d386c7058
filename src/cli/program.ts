import { Command } from "commander";
import { addApp } from "./commands/app.ts";
import { addAuth } from "./commands/auth.ts";
import { addBackbone } from "./commands/backbone.ts";
import { addBill } from "./commands/bill.ts";
import { addInspect } from "./commands/inspect.ts";
import { addKeygen } from "./commands/keygen.ts";
import { addKeyCommands } from "./commands/keys.ts";
import { addLog } from "./commands/log.ts";
import { addNamespace } from "./commands/namespace.ts";
import { addResolve } from "./commands/resolve.ts";
import { addService } from "./commands/service.ts";
import { addStatus } from "./commands/status.ts";
import { addToken } from "./commands/token.ts";
import { addWatch } from "./commands/watch.ts";
import type { CliDeps } from "./deps.ts";
import { EXIT_CODE_HELP, type ExitCode } from "./exit-code.ts";
import { Output } from "./output.ts";

export type { CliDeps };

/** Makes the program `omi`. Its commands throw; {@link runProgram} turns that into output and an exit code. */
export function createProgram(deps: CliDeps): Command {
  const program = new Command("omi")
    .description("compose an app from services of different vendors, and stay in control of it")
    .option("--config <path>", "the client configuration (OMI_CONFIG); omi.json or data/omi.json if left out")
    .option("--key <path>", "the file of your Master key (OMI_KEY)")
    .option("--registry <domain>", "the registry; the only one in the configuration if left out")
    .option("--json", "results as JSON on standard output, errors as JSON on standard error")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: deps.stdout, writeErr: (text) => wantsJson(program) || deps.stderr(text) })
    .showHelpAfterError("(add --help for more)")
    .addHelpText("after", EXIT_CODE_HELP)
    .exitOverride();
  addKeygen(program, deps);
  addNamespace(program, deps);
  addApp(program, deps);
  addBackbone(program, deps);
  addAuth(program, deps);
  addService(program, deps);
  addKeyCommands(program, deps);
  addBill(program, deps);
  addResolve(program, deps);
  addWatch(program, deps);
  addStatus(program, deps);
  addLog(program, deps);
  addInspect(program, deps);
  addToken(program, deps);
  deps.operator?.(program, deps);
  return program;
}

/**
 * Runs one command line.
 *
 * @param args without the program's own name
 * @returns the exit code
 */
export async function runProgram(args: readonly string[], deps: CliDeps): Promise<ExitCode> {
  const program = createProgram(deps);
  try {
    await program.parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    return new Output(deps, wantsJson(program)).error(error);
  }
}

function wantsJson(program: Command): boolean {
  return program.opts<{ json?: boolean }>().json === true;
}
