import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import { versionOf } from "./tools.ts";

/** Where a run took place, and of what. */
export function describeMachine(tools: readonly string[]) {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return {
    machine: {
      processors: os.cpus().length,
      model: os.cpus()[0]?.model,
      memoryBytes: os.totalmem(),
      kernel: `${os.type()} ${os.release()}`,
      loadBefore: os.loadavg(),
    },
    versions: {
      project: version,
      commit: commit(),
      node: process.version,
      openssl: process.versions.openssl,
      ...Object.fromEntries(tools.map((tool) => [tool, versionOf(tool)])),
    },
  };
}

function commit(): string | undefined {
  try {
    return execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}
