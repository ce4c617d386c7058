import type { LogEntry } from "../../gen/omi/registry/v1/log_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { entryHash } from "../log/entry-hash.ts";
import { statementId } from "../statement/statement.ts";

/** Where a reader of a log stands: the last entry it has checked. */
export type LogPosition = {
  /** Its index; 0 before the first entry. */
  readonly index: bigint;
  /** Its hash; empty before the first entry. Left out if the reader begins in the middle and does not know it. */
  readonly hash?: Uint8Array;
  /** Its time in Unix seconds; 0 before the first entry. */
  readonly time: bigint;
};

/** Before the first entry. */
export const LOG_BEGINNING: LogPosition = { index: 0n, hash: new Uint8Array(), time: 0n };

/**
 * Checks that an entry follows the one at `position`: the next index, no earlier time, linked to its hash, its own hash
 * right, and a body that is the statement it names.
 *
 * @returns the name of the field that is wrong; undefined if all is right
 */
export function logEntryProblem(position: LogPosition, entry: LogEntry): keyof LogEntry | undefined {
  if (entry.index !== position.index + 1n) return "index";
  if (entry.time < position.time) return "time";
  if (position.hash !== undefined && !equalBytes(entry.previousHash, position.hash)) return "previousHash";
  if (!equalBytes(entry.hash, entryHash(entry))) return "hash";
  if (entry.statement !== undefined && !equalBytes(statementId(entry.statement), entry.statementId)) return "statement";
  return undefined;
}
