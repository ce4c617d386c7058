import type { Database } from "../store/database.ts";

/** The table of {@link OutboxCursors}; a step of the migrations of a part that publishes. */
export const outboxMigration = `
  CREATE TABLE outbox (
    publisher     TEXT PRIMARY KEY,
    log_index     INTEGER NOT NULL,
    mark_index    INTEGER NOT NULL,
    mark_position INTEGER NOT NULL
  ) STRICT;
`;

/**
 * How far events are published. `mark` is the event at the greatest position among all up to `index`: a carrier that
 * still holds it has lost nothing of what came before.
 */
export interface OutboxCursor {
  readonly index: number;
  readonly mark: { readonly index: number; readonly position: number };
}

/** The cursor of a publisher that begins behind an index. It has no mark: the carrier is not known to hold anything. */
export function cursorAt(index: number): OutboxCursor {
  return { index, mark: { index: 0, position: 0 } };
}

/** Where the cursor of one publisher is kept. */
export class OutboxCursors {
  readonly #publisher: string;
  readonly #load;
  readonly #save;

  constructor(db: Database, publisher: string) {
    this.#publisher = publisher;
    this.#load = db.prepare<[string], { index: number; markIndex: number; markPosition: number }>(
      `SELECT log_index AS "index", mark_index AS markIndex, mark_position AS markPosition
       FROM outbox WHERE publisher = ?`,
    );
    this.#save = db.prepare(
      `INSERT INTO outbox (publisher, log_index, mark_index, mark_position) VALUES (?, ?, ?, ?)
       ON CONFLICT (publisher) DO UPDATE
       SET log_index = excluded.log_index, mark_index = excluded.mark_index, mark_position = excluded.mark_position`,
    );
  }

  load(): OutboxCursor | undefined {
    const row = this.#load.get(this.#publisher);
    if (row === undefined) return undefined;
    return { index: row.index, mark: { index: row.markIndex, position: row.markPosition } };
  }

  save({ index, mark }: OutboxCursor): void {
    this.#save.run(this.#publisher, index, mark.index, mark.position);
  }
}
