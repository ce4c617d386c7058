import { truncateSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { registryMigrations } from "../../src/registry/migrations.ts";
import { RegistryStore } from "../../src/registry/store.ts";
import { openDatabase, openForReading } from "../../src/store/database.ts";
import { temporaryFolder } from "../support/files.ts";

test("several reads that fail because the disk does say so", () => {
  const file = join(temporaryFolder(), "registry.db");
  const writer = openDatabase(file, registryMigrations);
  const db = openForReading(file, registryMigrations);
  onTestFinished(() => {
    db.close();
    writer.close();
  });
  const store = new RegistryStore(db);
  truncateSync(`${file}-wal`);
  expect(() => store.reading(() => store.namespace("alice"))).toThrow(
    expect.objectContaining({ code: "SQLITE_IOERR_SHORT_READ" }),
  );
  expect(db.inTransaction).toBe(false);
});
