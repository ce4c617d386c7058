import { fromBinary } from "@bufbuild/protobuf";
import BetterSqlite3 from "better-sqlite3";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { decodeEffect, type Effect } from "../../../src/registry/effects.ts";
import { type NonceRecord, readNonces } from "./nonces.ts";

/** An entry of a registry's log. */
export interface LoggedEffect {
  readonly index: number;
  /** Unix seconds. */
  readonly time: number;
  readonly statementId: string;
  readonly statement: Statement;
  readonly effect: Effect;
  /** The event about it; undefined if no app is concerned. */
  readonly event: { readonly appId: string; readonly sequence: number; readonly statement: Statement } | undefined;
}

/** A row of the registry's table of services, of keys, of proofs. Bytes are hexadecimal digits throughout. */
export type ServiceRecord = { appId: string; serviceId: string; provider: string; status: number };
export type KeyRecordRow = {
  keyId: string;
  publicKey: string;
  role: number;
  appId: string | null;
  serviceId: string | null;
  status: number;
};
export type ProofRecord = { proofId: string; appId: string; serviceId: string; keyId: string };

/** All that a registry's file says. */
export interface RegistryFacts {
  readonly log: readonly LoggedEffect[];
  readonly sequences: ReadonlyMap<string, number>;
  readonly services: readonly ServiceRecord[];
  readonly keys: readonly KeyRecordRow[];
  readonly proofs: readonly ProofRecord[];
  readonly nonces: readonly NonceRecord[];
}

type LogRow = {
  index: number;
  time: number;
  statementId: Uint8Array;
  statement: Uint8Array;
  effectType: string;
  effect: Uint8Array;
  appId: string | null;
  sequence: number | null;
  event: Uint8Array | null;
};

/** The sequence of each app's last event, from the file of a registry that may be running. */
export function readSequences(file: string): ReadonlyMap<string, bigint> {
  const db = new BetterSqlite3(file, { readonly: true });
  const apps = db.prepare<[], { appId: string; sequence: number }>("SELECT app_id AS appId, sequence FROM apps").all();
  db.close();
  return new Map(apps.map(({ appId, sequence }) => [appId, BigInt(sequence)]));
}

/** Reads the file of a registry, at one moment if it is running. */
export function readRegistry(file: string): RegistryFacts {
  const db = new BetterSqlite3(file, { readonly: true });
  db.exec("BEGIN");
  try {
    const log = db
      .prepare<[], LogRow>(
        `SELECT entry_index AS "index", time, statement_id AS statementId, statement, effect_type AS effectType, effect,
           app_id AS appId, sequence, event FROM log ORDER BY entry_index`,
      )
      .all();
    const apps = db
      .prepare<[], { appId: string; sequence: number }>("SELECT app_id AS appId, sequence FROM apps")
      .all();
    return {
      log: log.map(effectOf),
      sequences: new Map(apps.map(({ appId, sequence }) => [appId, sequence])),
      services: db
        .prepare<[], ServiceRecord>("SELECT app_id AS appId, service_id AS serviceId, provider, status FROM services")
        .all(),
      keys: db
        .prepare<[], KeyRecordRow>(
          `SELECT key_id AS keyId, lower(hex(public_key)) AS publicKey, role, app_id AS appId, service_id AS serviceId,
             status FROM keys`,
        )
        .all(),
      proofs: db
        .prepare<[], ProofRecord>(
          `SELECT lower(hex(proof_id)) AS proofId, app_id AS appId, service_id AS serviceId, key_id AS keyId FROM proofs`,
        )
        .all(),
      nonces: readNonces(db),
    };
  } finally {
    db.close();
  }
}

function effectOf(row: LogRow): LoggedEffect {
  return {
    index: row.index,
    time: row.time,
    statementId: toHex(row.statementId),
    statement: fromBinary(StatementSchema, row.statement),
    effect: decodeEffect(row.effectType, row.effect),
    event:
      row.appId === null || row.sequence === null || row.event === null
        ? undefined
        : { appId: row.appId, sequence: row.sequence, statement: fromBinary(StatementSchema, row.event) },
  };
}
