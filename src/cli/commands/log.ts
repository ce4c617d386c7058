import { fromBinary, type JsonValue } from "@bufbuild/protobuf";
import type { Command } from "commander";
import type { LogEntry } from "../../../gen/omi/registry/v1/log_pb.ts";
import { toHex } from "../../core/bytes.ts";
import { messages } from "../../developer/contract.ts";
import { isoTime } from "../../developer/readable.ts";
import { LOG_BEGINNING, type LogPosition } from "../../directory/log-chain.ts";
import { countingNumber, example, position } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { type Session, withSession } from "../session.ts";
import { shown } from "../shown.ts";

type LogOptions = { after?: bigint; limit?: number };

/** `omi log`: shows a registry's log and checks its hash chain on the way. */
export function addLog(program: Command, deps: CliDeps): void {
  const log = program
    .command("log")
    .description("show a registry's log, and verify its hash chain up to the signed head")
    .option("--after <index>", "begin after this entry, whose own place in the chain is then taken on trust", position)
    .option("--limit <number>", "end after this many entries", countingNumber)
    .action((options: LogOptions, command: Command) =>
      withSession(command, deps, (session) => readAll(session, options)),
    );
  example(log, "omi log", "omi log --json --after 1000 --limit 50");
}

const MAX_PAGE_SIZE = 500;

async function readAll(session: Session, { after, limit = Number.POSITIVE_INFINITY }: LogOptions): Promise<void> {
  const registry = session.registry();
  let reached: LogPosition = after === undefined || after === 0n ? LOG_BEGINNING : { index: after, time: 0n };
  let left = limit;
  while (left > 0) {
    const page = await registry.readLog({ after: reached, pageSize: Math.min(left, MAX_PAGE_SIZE) });
    for (const entry of page.entries) session.output.item(await shownEntry(entry), await entryLine(entry));
    left -= page.entries.length;
    reached = page.position;
    if (page.entries.length === 0 || reached.index === page.heads.value.logIndex) break;
  }
  const from = after === undefined || after === 0n ? "" : ` from ${after + 1n} on`;
  session.output.note(
    `The chain is right${from} up to ${reached.index}, hash ${toHex(reached.hash ?? new Uint8Array())}.`,
  );
}

async function shownEntry(entry: LogEntry): Promise<JsonValue> {
  return {
    index: Number(entry.index),
    time: isoTime(entry.time),
    statement_id: toHex(entry.statementId),
    ...(entry.statement !== undefined && { type: entry.statement.type }),
    effect_type: entry.effectType,
    effect: await shownEffect(entry),
    hash: toHex(entry.hash),
  };
}

/** The effect, or null if this version does not know its type. */
async function shownEffect({ effectType, effect }: LogEntry): Promise<JsonValue> {
  const schema = messages.getMessage(effectType);
  return schema === undefined ? null : shown(schema, fromBinary(schema, effect));
}

async function entryLine(entry: LogEntry): Promise<string> {
  const type = entry.effectType.slice(entry.effectType.lastIndexOf(".") + 1);
  const { app_id, namespace, service_id } = ((await shownEffect(entry)) ?? {}) as Record<string, JsonValue | undefined>;
  const about = [app_id ?? namespace, service_id].filter((part) => part !== undefined);
  return [
    `#${entry.index}`,
    isoTime(entry.time),
    type,
    about.join("/"),
    `statement ${toHex(entry.statementId).slice(0, 12)}`,
    `hash ${toHex(entry.hash).slice(0, 12)}`,
  ].join("  ");
}
