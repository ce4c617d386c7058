import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Where and how {@link run} runs a program. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What to install if the program is missing. */
  readonly from?: string;
}

/**
 * Runs a program and returns its standard output.
 *
 * @throws with the name of the program if it is missing, and with the end of what it wrote if it fails
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      maxBuffer: 16 * 2 ** 20,
    });
    return stdout;
  } catch (error) {
    const { code, stderr = "" } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === "ENOENT") {
      throw new Error(`${program} is not installed; install ${options.from ?? program} to run this test`);
    }
    throw new Error(`${[program, ...args].join(" ")} failed:\n${stderr.slice(-4000)}`);
  }
}
