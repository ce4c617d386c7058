import { spawn } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { type CliDeps, runProgram } from "../../src/cli/program.ts";
import { saveSigningKey } from "../../src/developer/signing-key.ts";
import { type DeveloperMesh, impatient, providerEntries, startMesh } from "../developer/support.ts";
import { entryJson } from "../directory/support.ts";
import { FakeClock } from "../support/clock.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes } from "../support/keys.ts";
import { registryDomain } from "../support/registry.ts";

/** How a command ended. */
export type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** Runs `omi` as a process of its own. */
export function omi(
  args: readonly string[],
  options: {
    env?: Record<string, string>;
    stdin?: string;
    /** A file in place of the pipe that is read. */
    stdoutTo?: string;
    /** True for a reader who is gone before anything is written. */
    closeStdout?: boolean;
    /** True if no file can take a byte more. */
    diskIsFull?: boolean;
  } = {},
): Promise<Ended> {
  const launcher = new URL("../../src/omi.js", import.meta.url).pathname;
  const output = options.stdoutTo === undefined ? undefined : openSync(options.stdoutTo, "w");
  const full = options.diskIsFull === true ? ["sh", "-c", `trap '' XFSZ; ulimit -f 0; exec "$0" "$@"`] : [];
  const [command = "", ...words] = [...full, process.execPath, launcher, ...args];
  const child = spawn(command, words, {
    env: { ...process.env, ...options.env },
    stdio: ["pipe", output ?? "pipe", "pipe"],
  });
  if (output !== undefined) closeSync(output);
  if (options.closeStdout === true) child.stdout?.destroy();
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  child.stdin?.end(options.stdin ?? "");
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
}

/** A stream of bytes, as the standard input is. */
export async function* chunks(...all: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* all;
}

/** Runs a command in this process, without a mesh unless `deps` say otherwise. */
export async function runHere(
  args: readonly string[],
  { stdin = "", ...deps }: Partial<Omit<CliDeps, "stdin" | "stdout" | "stderr">> & { stdin?: string } = {},
  onStdout: (text: string) => void = () => {},
): Promise<Ended> {
  let [stdout, stderr] = ["", ""];
  const code = await runProgram(args, {
    env: {},
    clock: impatient(new FakeClock()),
    random: testBytes,
    onInterrupt: () => {},
    ...deps,
    stdin: () => chunks(Buffer.from(stdin)),
    stdout: (text) => {
      stdout += text;
      onStdout(text);
    },
    stderr: (text) => {
      stderr += text;
    },
  });
  return { code, stdout, stderr };
}

/** A mesh, and a developer's machine with a configuration and a Master key for it. */
export type CliMesh = DeveloperMesh & {
  readonly folder: string;
  /** Runs a command in this process, by the mesh's clock. */
  run(
    args: readonly string[],
    options?: Parameters<typeof runHere>[1],
    onStdout?: Parameters<typeof runHere>[2],
  ): Promise<Ended>;
  /** Runs a command with `--json` that must succeed, and gives its result. */
  json<T = Record<string, unknown>>(...args: readonly string[]): Promise<T>;
};

export async function startCliMesh(): Promise<CliMesh> {
  const mesh = await startMesh();
  const folder = temporaryFolder();
  saveSigningKey(join(folder, "master.json"), KeyRole.MASTER, mesh.master);
  writeFileSync(join(folder, "omi.json"), JSON.stringify(configOf(mesh)));

  const run: CliMesh["run"] = (args, { env, ...options } = {}, onStdout) => {
    const files = { OMI_CONFIG: join(folder, "omi.json"), OMI_KEY: join(folder, "master.json") };
    return runHere(args, { clock: impatient(mesh.clock), env: { ...files, ...env }, ...options }, onStdout);
  };
  return {
    ...mesh,
    folder,
    run,
    async json(...args) {
      const { code, stdout, stderr } = await run([...args, "--json"]);
      if (code !== 0) throw new Error(`omi ${args.join(" ")} ended with ${code}: ${stderr}`);
      return JSON.parse(stdout);
    },
  };
}

function configOf({ registry, hosts }: DeveloperMesh) {
  const keys = [{ publicKey: registry.key.publicKey, algorithm: KeyAlgorithm.ED25519 }];
  const baseUrl = `http://${registryDomain}`;
  const registryEntry = entryJson({ domain: registryDomain, party: Party.REGISTRY, baseUrl, keys });
  return { development: true, directory: [registryEntry, ...providerEntries], hosts };
}
