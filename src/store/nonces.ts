import { equalBytes } from "../core/bytes.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Database } from "./database.ts";

/** The table of spent nonces; part of the first migration of every part that accepts statements. */
export const noncesMigration = `
  CREATE TABLE nonces (
    audience     TEXT NOT NULL,
    signer       TEXT NOT NULL,
    nonce        BLOB NOT NULL,
    statement_id BLOB NOT NULL,
    forget_at    INTEGER NOT NULL,
    PRIMARY KEY (audience, signer, nonce)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX nonces_by_age ON nonces (forget_at);
`;

/** Seconds that a nonce is kept beyond the time at which its statement has become too old to be accepted. */
const marginSeconds = 60;

/** The parts of a statement that its nonce is spent with. */
export interface SpendableStatement {
  /** The Statement ID. */
  id: Uint8Array;
  header: { audience: string; signer: string; nonce: Uint8Array; timestamp: bigint };
}

/**
 * Remembers which nonces a signer has used, across restarts, until their statements are too old to come back. One
 * signer's flood can't push out another's: nothing is evicted but by age, and only accepted statements are stored.
 *
 * All methods belong into the transaction of the change that the statement makes.
 */
export class Nonces {
  readonly #find;
  readonly #insert;
  readonly #forget;
  readonly #windowSeconds: number;

  /** @param windowSeconds the largest freshness window of this part */
  constructor(db: Database, windowSeconds: number) {
    this.#windowSeconds = windowSeconds;
    this.#find = db
      .prepare<[string, string, Uint8Array], Buffer>(
        "SELECT statement_id FROM nonces WHERE audience = ? AND signer = ? AND nonce = ?",
      )
      .pluck();
    this.#insert = db.prepare<[string, string, Uint8Array, Uint8Array, number]>(
      "INSERT INTO nonces (audience, signer, nonce, statement_id, forget_at) VALUES (?, ?, ?, ?, ?)",
    );
    this.#forget = db.prepare<[number]>(
      `DELETE FROM nonces WHERE (audience, signer, nonce) IN
         (SELECT audience, signer, nonce FROM nonces WHERE forget_at < ? LIMIT 100)`,
    );
  }

  /**
   * Refuses a nonce that its signer used in another statement.
   *
   * @throws Refusal NONCE_REUSED
   */
  check(statement: SpendableStatement): void {
    const { audience, signer, nonce } = statement.header;
    const known = this.#find.get(audience, signer, nonce);
    if (known !== undefined && !equalBytes(known, statement.id)) throw nonceReused();
  }

  /**
   * Refuses a nonce that its signer used at all, be it in this statement: for statements whose outcome can't be given again.
   *
   * @throws Refusal NONCE_REUSED
   */
  checkUnspent(statement: SpendableStatement): void {
    if (this.isSpent(statement)) throw nonceReused();
  }

  /** True if the signer used the nonce before, be it in this statement or in another. */
  isSpent({ header: { audience, signer, nonce } }: SpendableStatement): boolean {
    return this.#find.get(audience, signer, nonce) !== undefined;
  }

  /** Spends the nonce, and forgets some that are too old to matter (seconds, by `now`). Call after {@link check}. */
  spend(statement: SpendableStatement, now: number): void {
    const { audience, signer, nonce, timestamp } = statement.header;
    const forgetAt = Number(timestamp) + this.#windowSeconds + marginSeconds;
    this.#insert.run(audience, signer, nonce, statement.id, forgetAt);
    this.#forget.run(now);
  }
}

function nonceReused(): Refusal {
  return new Refusal(Reason.NONCE_REUSED, "this nonce was used before", {
    metadata: { field: "header.nonce" },
  });
}
