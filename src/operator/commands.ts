import { UsageError } from "../cli/exit-code.ts";
import { systemRandom } from "../core/random.ts";
import { registryMigrations } from "../registry/migrations.ts";
import { type RebuildReport, rebuild } from "../registry/rebuild.ts";
import { openDatabase } from "../store/database.ts";
import { type Mesh, meshSize, prepareMesh } from "./mesh.ts";
import { portsInUse, type RunningMesh, startMesh } from "./processes.ts";

/** Recreates a registry's tables from its log; the registry must not be running. */
export function rebuildRegistry(databaseFile: string, onProgress: (entries: number) => void): RebuildReport {
  const db = openDatabase(databaseFile, registryMigrations);
  try {
    return rebuild(db, onProgress);
  } finally {
    db.close();
  }
}

/**
 * Prepares and starts a mesh that keeps its data in `folder`, on ports from `firstPort` on.
 *
 * @throws UsageError before anything is written if a port is in use: a mesh that runs already would answer in place of this
 *   one, and its configurations would be overwritten
 */
export async function startPersistentMesh(folder: string, firstPort: number): Promise<RunningMesh> {
  const ports = Array.from({ length: meshSize }, (_, index) => firstPort + index);
  const taken = await portsInUse(ports);
  if (taken.length > 0) {
    throw new UsageError(
      `in use on 127.0.0.1: port ${taken.join(", ")}; stop what listens there (another mesh?), or choose others with --port`,
    );
  }
  const mesh: Mesh = prepareMesh(folder, { ports, random: systemRandom });
  return startMesh(mesh);
}
