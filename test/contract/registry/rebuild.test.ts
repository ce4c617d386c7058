import BetterSqlite3 from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { rebuild } from "../../../src/registry/rebuild.ts";
import { announcementOf, bindTestService, registerTestApp, rotateTestService } from "../../support/developer.ts";
import { dumpOf, startFileRegistry } from "../support/file-registry.ts";

/** The file of a registry that has stopped, opened. */
async function stopped() {
  const registry = await startFileRegistry();
  const app = await registerTestApp(registry);
  await registry.registry.announceAuth({ statement: announcementOf(registry.clock, app) });
  await rotateTestService(registry, await bindTestService(registry, app));
  await registry.halt();
  const db = new BetterSqlite3(registry.file);
  onTestFinished(() => void db.close());
  return { db, dump: () => dumpOf(registry.file) };
}

test("tables that say what the log says come out the same", async () => {
  const { db, dump } = await stopped();
  const before = dump();
  const progress: number[] = [];
  const report = rebuild(db, (entries) => progress.push(entries));
  expect(report).toMatchObject({ entries: 6, equal: true });
  expect(report.before).toBe(report.after);
  expect(progress).toEqual([6]);
  expect(dump()).toEqual(before);
});

test.each([
  ["a row that was changed", "UPDATE services SET endpoint_url = 'https://evil.test'"],
  ["a row that was taken away", "DELETE FROM proofs"],
  ["a key that was put in", "INSERT INTO keys SELECT 'x', x'00', 6, NULL, app_id, 'cms-article-77', 1, 0 FROM apps"],
  ["a key that came back from its grace", "UPDATE keys SET status = 1, not_after = 0"],
])("%s is repaired and reported", async (_, sql) => {
  const { db, dump } = await stopped();
  const before = dump();
  db.exec(sql);
  expect(rebuild(db)).toMatchObject({ equal: false });
  expect(dump()).toEqual(before);
});

test.each([
  ["an effect that was changed", "UPDATE log SET effect = x'' WHERE entry_index = 3"],
  ["an effect of another type", "UPDATE log SET effect_type = 'omi.registry.v1.AppRegistered' WHERE entry_index = 2"],
  ["a time that was changed", "UPDATE log SET time = time + 1 WHERE entry_index = 6"],
  ["an entry that was taken away", "DELETE FROM log WHERE entry_index = 2"],
  ["a first entry that was taken away", "DELETE FROM log WHERE entry_index = 1"],
  ["another statement's ID", "UPDATE log SET statement_id = x'00' WHERE entry_index = 5"],
])("%s breaks the chain, and nothing is touched", async (_, sql) => {
  const { db, dump } = await stopped();
  db.exec(sql);
  const before = dump();
  expect(() => rebuild(db)).toThrow();
  expect(db.inTransaction).toBe(false);
  expect(dump()).toEqual(before);
});

test("the log is as good without the bodies that are private", async () => {
  const { db } = await stopped();
  expect(db.prepare("UPDATE log SET statement = x'' WHERE private = 1").run().changes).toBe(2);
  expect(rebuild(db)).toMatchObject({ equal: true });
});
