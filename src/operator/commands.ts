import { systemRandom } from "../core/random.ts";
import { registryMigrations } from "../registry/migrations.ts";
import { type RebuildReport, rebuild } from "../registry/rebuild.ts";
import { openDatabase } from "../store/database.ts";
import { type Mesh, meshSize, prepareMesh } from "./mesh.ts";
import { type RunningMesh, startMesh } from "./processes.ts";

/** Recreates a registry's tables from its log; the registry must not be running. */
export function rebuildRegistry(databaseFile: string, onProgress: (entries: number) => void): RebuildReport {
  const db = openDatabase(databaseFile, registryMigrations);
  try {
    return rebuild(db, onProgress);
  } finally {
    db.close();
  }
}

/** Prepares and starts a mesh that keeps its data in `folder`, on ports from `firstPort` on. */
export function startPersistentMesh(folder: string, firstPort: number): Promise<RunningMesh> {
  const ports = Array.from({ length: meshSize }, (_, index) => firstPort + index);
  const mesh: Mesh = prepareMesh(folder, { ports, random: systemRandom });
  return startMesh(mesh);
}
