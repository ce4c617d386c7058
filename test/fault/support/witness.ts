import BetterSqlite3 from "better-sqlite3";

// Triggers in the part's own file: they write in the transaction of the effect, whatever becomes of the process.
const triggers = `
  CREATE TABLE IF NOT EXISTS witness (number INTEGER PRIMARY KEY, app_id TEXT NOT NULL, sequence INTEGER NOT NULL);
  CREATE TRIGGER IF NOT EXISTS witness_first AFTER INSERT ON event_cursors
    BEGIN INSERT INTO witness (app_id, sequence) VALUES (new.app_id, new.sequence); END;
  CREATE TRIGGER IF NOT EXISTS witness_next AFTER UPDATE ON event_cursors
    BEGIN INSERT INTO witness (app_id, sequence) VALUES (new.app_id, new.sequence); END;
`;

/** Has a part's file keep account of every event that the part applies from now on. */
export function bearWitness(file: string): void {
  const db = new BetterSqlite3(file, { timeout: 30_000 });
  db.exec(triggers);
  db.close();
}

/** Every event that was not applied once, as the successor of the one before. */
export function auditWitness(file: string): string[] {
  const db = new BetterSqlite3(file, { readonly: true });
  const rows = db
    .prepare<[], { appId: string; sequence: number }>("SELECT app_id AS appId, sequence FROM witness ORDER BY number")
    .all();
  db.close();
  const last = new Map<string, number>();
  const problems: string[] = [];
  for (const { appId, sequence } of rows) {
    const before = last.get(appId) ?? 0;
    if (sequence !== before + 1) problems.push(`${appId}: event ${sequence} was applied after ${before}`);
    last.set(appId, sequence);
  }
  return problems;
}
