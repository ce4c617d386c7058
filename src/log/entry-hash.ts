import { create, toBinary } from "@bufbuild/protobuf";
import { type LogEntry, LogEntryInputSchema } from "../../gen/omi/registry/v1/log_pb.ts";
import { sha256 } from "../statement/crypto.ts";

/** What of an entry the hash chain covers. */
export type HashedEntry = Pick<LogEntry, "index" | "time" | "statementId" | "effectType" | "effect" | "previousHash">;

/** SHA-256 over the encoded LogEntryInput: links an entry to all before it. */
export function entryHash(entry: HashedEntry): Uint8Array {
  const { index, time, statementId, effectType, effect, previousHash } = entry;
  const input = create(LogEntryInputSchema, { index, time, statementId, effectType, effect, previousHash });
  return sha256(toBinary(LogEntryInputSchema, input));
}
