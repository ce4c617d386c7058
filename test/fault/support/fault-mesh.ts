import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemRandom } from "../../../src/core/random.ts";
import type { ProcessConfigFile } from "../../../src/operator/config.ts";
import { type Mesh, type MeshOptions, meshSize, prepareMesh } from "../../../src/operator/mesh.ts";
import { newFolder, removeFolder } from "../../support/files.ts";
import { Chance } from "./chance.ts";
import { FaultMember } from "./fault-member.ts";
import { steadyPorts } from "./ports.ts";
import { settings } from "./settings.ts";

/** The names of the providers. */
export const providerNames = ["auth-provider", "cms-article", "journal"] as const;

/** The name of a part. */
export type PartName = "registry" | (typeof providerNames)[number] | "billing";

/** The files in which the parts keep their state, within the mesh's folder. */
const databaseFiles = {
  registry: "registry/registry.db",
  "auth-provider": "auth-provider/auth.db",
  "cms-article": "cms-article/agent.db",
  journal: "journal/agent.db",
  billing: "billing/billing.db",
} as const satisfies Record<PartName, string>;

const TAIL_LINES = 15;

/** A registry, an Auth Provider, two domain services and a billing service, each in a process that can be made to fail. */
export class FaultMesh {
  readonly mesh: Mesh;
  readonly members: Readonly<Record<PartName, FaultMember>>;
  /** What went wrong with the processes themselves. */
  readonly problems: string[] = [];

  constructor(mesh: Mesh) {
    this.mesh = mesh;
    const members = mesh.members.map((member) => {
      return [member.name, new FaultMember(mesh.folder, member, (problem) => this.problems.push(problem))];
    });
    this.members = Object.fromEntries(members) as Record<PartName, FaultMember>;
  }

  /** Changes the configuration of a part that is not running. */
  configure(name: PartName, change: (config: ProcessConfigFile) => void): void {
    const { configFile } = this.members[name].member;
    const config = JSON.parse(readFileSync(configFile, "utf8"));
    change(config);
    writeFileSync(configFile, JSON.stringify(config, undefined, 2));
  }

  /** The SQLite file of a part. */
  databaseFile(name: PartName): string {
    return join(this.mesh.folder, databaseFiles[name]);
  }

  /** The SQLite file of a domain service's articles. */
  articlesFile(name: "cms-article" | "journal"): string {
    return join(this.mesh.folder, name, "articles.db");
  }

  /**
   * Starts all parts, the registry first: whatever a provider has left to finish when it starts, it can. Waits until all
   * serve.
   *
   * @throws if one doesn't come up
   */
  async start(): Promise<void> {
    const { registry, ...others } = this.members;
    for (const group of [[registry], Object.values(others)]) {
      for (const member of group) member.start();
      await Promise.all(group.map((member) => member.serving));
    }
    this.check();
  }

  /** Stops all parts in good order, and checks that each ended well. */
  async stop(): Promise<void> {
    const { registry, ...others } = this.members;
    // What the providers are doing at that moment, they can still finish.
    await Promise.all(Object.values(others).map((member) => this.stopOne(member)));
    await this.stopOne(registry);
    this.check();
  }

  /** Tells a part to stop, and waits until it has. That it didn't end well is a problem. */
  async stopOne(part: FaultMember): Promise<void> {
    const code = await part.stop();
    if (code !== 0) this.problems.push(`${part.member.name} ended with ${code ?? "a signal"} when it was told to stop`);
  }

  /** @throws if anything went wrong with the processes */
  check(): void {
    if (this.problems.length > 0) throw new Error(this.problems.join("\n"));
  }

  /** The last lines of all logs, without the calls that went well. */
  tailOfLogs(): string {
    const tails = Object.values(this.members).map((part) => {
      const lines = part.logLines().filter((line) => !line.includes('"outcome":"ok"'));
      return `--- log of ${part.member.name}\n${lines.slice(-TAIL_LINES).join("\n")}`;
    });
    return tails.join("\n");
  }

  /** What the parts logged as an error: something that nobody foresaw. */
  loggedErrors(): string[] {
    const isError = (line: string) => /"level":"(error|fatal)"/.test(line) || !line.startsWith("{");
    return Object.values(this.members).flatMap((part) =>
      part
        .logLines()
        .filter((line) => line !== "" && isError(line))
        .map((line) => `${part.member.name}: ${line}`),
    );
  }
}

/**
 * Runs a test with a mesh of its own, which has not been started. If it fails, it says with which seed and what the
 * processes logged last, and the mesh's folder stays.
 */
export async function withFaultMesh(
  test: (mesh: FaultMesh, chance: Chance) => Promise<void>,
  options: Pick<MeshOptions, "viewMaxAgeSeconds"> = { viewMaxAgeSeconds: 1 },
): Promise<void> {
  const folder = newFolder();
  const ports = await steadyPorts(meshSize);
  const mesh = new FaultMesh(prepareMesh(folder, { ...options, ports, random: systemRandom }));
  try {
    await test(mesh, new Chance(settings.seed));
    await mesh.stop();
  } catch (error) {
    console.error(`failed with OMI_FAULT_SEED=${settings.seed}; the files are in ${folder}\n${mesh.tailOfLogs()}`);
    // What is still under way must bring nobody back.
    await Promise.all(Object.values(mesh.members).map((member) => member.retire()));
    throw error;
  }
  removeFolder(folder);
}
