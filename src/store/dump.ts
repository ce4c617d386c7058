import { createHash } from "node:crypto";
import { toHex } from "../core/bytes.ts";
import type { Database } from "./database.ts";

/**
 * All rows of some tables in a form and order that are equal exactly if the content is: one JSON line a row,
 * `[table, {column: value}]`, blobs as `x'hex'`. Two SQLite files with equal content almost never have equal bytes, so this is
 * how to compare.
 *
 * @param tables trusted names; they become part of the SQL
 */
export function* canonicalLines(db: Database, tables: readonly string[]): Generator<string, void> {
  for (const table of [...tables].sort()) {
    for (const row of db.prepare<[], Record<string, unknown>>(inOrder(db, table)).iterate()) {
      const columns = Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1));
      yield JSON.stringify([table, Object.fromEntries(columns.map(([name, value]) => [name, textOf(value)]))]);
    }
  }
}

/** SHA-256 over the {@link canonicalLines}, hexadecimal. Holds one row at a time. */
export function canonicalDigest(db: Database, tables: readonly string[]): string {
  const digest = createHash("sha256");
  for (const line of canonicalLines(db, tables)) digest.update(`${line}\n`);
  return digest.digest("hex");
}

/** Reads a table by its primary key, which SQLite has in order, so that nothing is sorted; by all columns without one. */
function inOrder(db: Database, table: string): string {
  const columns = db
    .prepare<[], { name: string; pk: number }>(`SELECT name, pk FROM pragma_table_info('${table}') ORDER BY name`)
    .all();
  const key = columns.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
  const order = (key.length > 0 ? key : columns).map(({ name }) => `"${name}"`);
  return `SELECT * FROM ${table} ORDER BY ${order.join(", ")}`;
}

function textOf(value: unknown): unknown {
  return value instanceof Uint8Array ? `x'${toHex(value)}'` : value;
}
