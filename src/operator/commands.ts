import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../cli/exit-code.ts";
import { systemRandom } from "../core/random.ts";
import { registryMigrations } from "../registry/migrations.ts";
import { type RebuildReport, rebuild } from "../registry/rebuild.ts";
import { openDatabase } from "../store/database.ts";
import { mustHoldAlone, readersOf } from "./hold.ts";
import { type Mesh, meshSize, prepareMesh } from "./mesh.ts";
import { portsInUse, type RunningMesh, startMesh } from "./processes.ts";

/**
 * Recreates a registry's tables from its log.
 *
 * @throws UsageError if the registry or one of its readers runs
 */
export function rebuildRegistry(databaseFile: string, onProgress: (entries: number) => void): RebuildReport {
  const release = mustHoldAlone(databaseFile);
  const releaseReaders = mustHoldAlone(readersOf(databaseFile));
  const db = openDatabase(databaseFile, registryMigrations);
  try {
    return rebuild(db, onProgress);
  } finally {
    db.close();
    releaseReaders();
    release();
  }
}

/**
 * Prepares and starts a mesh that keeps its data in `folder`, on ports from `firstPort` on.
 *
 * @param signal ends the wait until its parts serve
 * @throws UsageError before anything is written if a port is in use, as a mesh that runs already would answer in place of
 *   this one, or if one runs on the same data; else as {@link startMesh}
 */
export async function startPersistentMesh(
  folder: string,
  firstPort: number,
  signal?: AbortSignal,
): Promise<RunningMesh> {
  const ports = Array.from({ length: meshSize }, (_, index) => firstPort + index);
  const taken = await portsInUse(ports);
  if (taken.length > 0) {
    throw new UsageError(
      `in use on 127.0.0.1: port ${taken.join(", ")}; stop what listens there (another mesh?), or choose others with --port`,
    );
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  mustHoldAlone(join(folder, "mesh"));
  const mesh: Mesh = prepareMesh(folder, { ports, random: systemRandom });
  return startMesh(mesh, signal);
}
