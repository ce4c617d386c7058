import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished } from "vitest";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { saveSigningKey } from "../../src/developer/signing-key.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";

const launcher = new URL("../../src/omi.js", import.meta.url).pathname;

/**
 * A registry's configuration in a new folder, with its key.
 *
 * @returns the folder and the file
 */
export function registryConfig(mesh: object, server: object): { folder: string; file: string } {
  const folder = temporaryFolder();
  saveSigningKey(join(folder, "key.json"), KeyRole.REGISTRY, testKey("registry"));
  const registry = { domain: "omi-registry.test", databaseFile: "registry.db", keys: [{ file: "key.json" }] };
  const file = join(folder, "registry.json");
  writeFileSync(file, JSON.stringify({ mesh, server, registry }));
  return { folder, file };
}

/** Runs `omi serve` in a process of its own, and waits until it listens; it ends with the test, or before. */
export async function serve(args: readonly string[], env = {}): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [launcher, "serve", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  for await (const line of createInterface(child.stdout)) {
    const { address } = JSON.parse(line);
    if (address === undefined) continue;
    child.stdout.resume();
    return { child, url: address };
  }
  return expect.fail("it did not start");
}

/** Ends it by a signal; resolves with exit code and signal. */
export function end(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown[]> {
  const exit = once(child, "exit");
  child.kill(signal);
  return exit;
}
