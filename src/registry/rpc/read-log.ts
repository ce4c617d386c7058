import { create } from "@bufbuild/protobuf";
import { type LogEntry, LogEntrySchema, type ReadLogRequest } from "../../../gen/omi/registry/v1/log_pb.ts";
import type { StoredEntry } from "../../log/log.ts";
import type { RegistryCore } from "../core.ts";
import { signHeads } from "../heads.ts";
import { decodeStatement } from "../keyring.ts";
import { sequenceUpTo } from "./list-events.ts";

const defaultPageSize = 100;

/** A page ends after this many bytes of statements and effects, to stay well below what clients read at once. */
const maxPageBytes = 1 << 20;

/** Reads log entries in order. Private bodies are left out; the hash chain holds without them. */
export function readLog(core: RegistryCore, request: ReadLogRequest) {
  const heads = signHeads(core, []);
  const start = Math.max(1, sequenceUpTo(request.startIndex, core.log.head().index + 1, "start_index"));
  const entries: LogEntry[] = [];
  let bytes = 0;
  for (const entry of core.log.read(start, request.pageSize || defaultPageSize)) {
    bytes += entry.statement.length + entry.effect.length;
    if (entries.length > 0 && bytes > maxPageBytes) break;
    entries.push(toMessage(entry));
  }
  return { entries, heads };
}

function toMessage(entry: StoredEntry): LogEntry {
  return create(LogEntrySchema, {
    index: BigInt(entry.index),
    time: BigInt(entry.time),
    statementId: entry.statementId,
    effectType: entry.effectType,
    effect: entry.effect,
    previousHash: entry.previousHash,
    hash: entry.hash,
    ...(entry.private ? {} : { statement: decodeStatement(entry.statement) }),
  });
}
