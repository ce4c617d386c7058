import { createHash } from "node:crypto";
import { toHex } from "../core/bytes.ts";
import type { Database } from "./database.ts";

/** The content of some tables in a form that is equal exactly if the content is. */
export interface CanonicalDump {
  /** One JSON line a row, `[table, {column: value}]`, sorted; blobs as `x'hex'`. */
  lines: string[];
  /** SHA-256 over the lines, hexadecimal. */
  sha256: string;
}

/**
 * Dumps tables canonically. Two SQLite files with equal content almost never have equal bytes, so this is how to compare.
 *
 * @param tables trusted names; they become part of the SQL
 */
export function canonicalDump(db: Database, tables: readonly string[]): CanonicalDump {
  const lines: string[] = [];
  for (const table of tables) {
    for (const row of db.prepare<[], Record<string, unknown>>(`SELECT * FROM ${table}`).iterate()) {
      const columns = Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1));
      lines.push(JSON.stringify([table, Object.fromEntries(columns.map(([name, value]) => [name, textOf(value)]))]));
    }
  }
  lines.sort();
  return { lines, sha256: createHash("sha256").update(lines.join("\n")).digest("hex") };
}

function textOf(value: unknown): unknown {
  return value instanceof Uint8Array ? `x'${toHex(value)}'` : value;
}
