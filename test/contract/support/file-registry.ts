import { join } from "node:path";
import BetterSqlite3 from "better-sqlite3";
import { onTestFinished } from "vitest";
import { projectionTables } from "../../../src/registry/migrations.ts";
import type { RegistryOptions } from "../../../src/registry/service.ts";
import { canonicalDigest, canonicalLines } from "../../../src/store/dump.ts";
import { newFolder, removeFolder } from "../../support/files.ts";
import { type RunningRegistry, runRegistry } from "../../support/registry.ts";

/** What a registry has kept. */
export interface Contents {
  logSize: number;
  nonces: number;
  /** Equal exactly if all tables hold the same: the log's last hash, and that of the dump of all others. */
  state: string;
}

/** A registry on a file that the test can look into. */
export interface FileRegistry extends RunningRegistry {
  file: string;
  contents(): Contents;
  /** Stops it, and leaves the file until {@link stop} is called. */
  halt(): Promise<void>;
  /** Stops it, and starts another one on the same file, with options that may differ. */
  restarted(changes?: Partial<RegistryOptions>): Promise<FileRegistry>;
}

/** Starts a registry on a new file; it stops with the test, or before. */
export async function startFileRegistry(options: Partial<RegistryOptions> = {}): Promise<FileRegistry> {
  const running = await runFileRegistry(options);
  onTestFinished(running.stop);
  return running;
}

/** The same for the caller to stop. */
export async function runFileRegistry(options: Partial<RegistryOptions> = {}): Promise<FileRegistry> {
  const folder = newFolder();
  return runOn(folder, options, () => removeFolder(folder));
}

/** All rows of all tables of a registry's file, one canonical line each. */
export function dumpOf(file: string): string[] {
  const db = new BetterSqlite3(file, { readonly: true });
  try {
    return [...canonicalLines(db, ["log", ...tablesBesideLog])];
  } finally {
    db.close();
  }
}

const tablesBesideLog = [...projectionTables, "nonces", "contacts"];

async function runOn(folder: string, options: Partial<RegistryOptions>, clean: () => void): Promise<FileRegistry> {
  const file = join(folder, "registry.db");
  const running = await runRegistry({ ...options, databaseFile: file });
  const db = new BetterSqlite3(file, { readonly: true });
  const count = (table: string) => db.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get() ?? 0;
  const logHash = db.prepare<[], Buffer>("SELECT hash FROM log ORDER BY entry_index DESC LIMIT 1").pluck();
  let seen: { version: unknown; contents: Contents } | undefined;
  const contents = (): Contents => {
    // Moves whenever another connection has changed the file.
    const version = db.pragma("data_version", { simple: true });
    if (seen === undefined || seen.version !== version) {
      const state = `${logHash.get()?.toString("hex")} ${canonicalDigest(db, tablesBesideLog)}`;
      seen = { version, contents: { logSize: count("log"), nonces: count("nonces"), state } };
    }
    return seen.contents;
  };
  const halt = async () => {
    await running.stop();
    db.close();
  };
  return {
    ...running,
    file,
    contents,
    halt,
    async stop() {
      await halt();
      clean();
    },
    async restarted(changes = {}) {
      await halt();
      const next = await runOn(folder, { ...options, ...changes, clock: running.clock }, clean);
      onTestFinished(next.stop);
      return next;
    },
  };
}
