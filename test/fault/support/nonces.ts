import BetterSqlite3 from "better-sqlite3";

/** A nonce that was spent, by which Statement. Bytes are hexadecimal digits. */
export type NonceRecord = { signer: string; nonce: string; statementId: string };

/** The spent nonces in a part's database. */
export function readNonces(db: BetterSqlite3.Database): NonceRecord[] {
  return db
    .prepare<[], NonceRecord>(
      "SELECT signer, lower(hex(nonce)) AS nonce, lower(hex(statement_id)) AS statementId FROM nonces",
    )
    .all();
}

/** The IDs of the Statements that have spent nonces, by the files of these parts, which are stopped. */
export function readSpent(files: readonly string[]): ReadonlySet<string> {
  const ids = files.flatMap((file) => {
    const db = new BetterSqlite3(file, { readonly: true });
    const nonces = readNonces(db);
    db.close();
    return nonces.map(({ statementId }) => statementId);
  });
  return new Set(ids);
}
