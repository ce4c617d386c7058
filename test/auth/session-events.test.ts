import { expect, test } from "vitest";
import { authMigrations } from "../../src/auth/migrations.ts";
import { SessionEvents, sessionEventsMigration } from "../../src/auth/session-events.ts";
import { openDatabase } from "../../src/store/database.ts";
import { temporaryFolder } from "../support/files.ts";

const [shop, blog] = ["test.omi-registry.alice.shop.0a1b2c", "test.omi-registry.alice.blog.0a1b2c"];

test("the events of all apps have one order, in which no number is ever used twice", () => {
  const events = new SessionEvents(openDatabase(":memory:", authMigrations));
  for (const appId of [shop, blog, shop]) events.add(appId, "session", 1000);
  expect(events.afterIndex(0, 1000, 10).map(({ index, appId, sequence }) => [index, appId, sequence])).toEqual([
    [1, shop, 1],
    [2, blog, 1],
    [3, shop, 2],
  ]);
  expect(events.afterIndex(1, 1000, 1).map(({ index }) => index)).toEqual([2]);
  // All that is there says nothing any more, and is dropped with the next one.
  events.add(blog, "session", 2000);
  events.removeAll(blog);
  events.add(blog, "session", 2000);
  expect(events.afterIndex(0, 2000, 10).map(({ index, sequence }) => [index, sequence])).toEqual([[5, 3]]);
});

test("a file from before there was such an order keeps its events", () => {
  const file = `${temporaryFolder()}/auth.db`;
  const before = openDatabase(file, authMigrations.slice(0, authMigrations.indexOf(sessionEventsMigration) + 1));
  before.exec(`
    INSERT INTO session_heads VALUES ('${shop}', 2), ('${blog}', 1);
    INSERT INTO session_events VALUES ('${shop}', 1, 's-1', 100, 1060), ('${shop}', 2, 's-3', 102, 1062),
      ('${blog}', 1, 's-2', 101, 1061);
  `);
  before.close();
  const events = new SessionEvents(openDatabase(file, authMigrations));
  expect(events.afterIndex(0, 100, 10).map(({ sessionId }) => sessionId)).toEqual(["s-1", "s-2", "s-3"]);
  events.add(shop, "s-4", 103);
  expect(events.after(shop, 1, 103, 10).map(({ sequence, sessionId }) => [sequence, sessionId])).toEqual([
    [2, "s-3"],
    [3, "s-4"],
  ]);
});
