import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { Database } from "../store/database.ts";
import type { TenantId } from "./tenants.ts";

/** What a rotation is asked to do with the key it replaces. */
export type RotationRequest = {
  /** How long that key stays in grace, in seconds. 0: the registry's default. */
  readonly gracePeriodSeconds: number;
  /** True: not at all, and no earlier key either. */
  readonly immediate: boolean;
};

/** A rotation under way. */
export type PendingRotation = RotationRequest & {
  /** The Rotation as it is, or was, sent. */
  readonly statement: Statement;
  /** The Statement ID of the developer's order, if there was one. */
  readonly orderId: Uint8Array | undefined;
};

/** A rotation that the registry has accepted. */
export type RotationOutcome = {
  /** The key that became current, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The key that it replaced, 32 bytes. */
  readonly previousPublicKey: Uint8Array;
  /** Until when that key counts, in Unix seconds; 0: it stopped. */
  readonly gracePeriodExpiry: number;
};

/** What became of a developer's order to rotate. */
export type RotationOrder =
  | { readonly state: "pending" }
  | { readonly state: "done"; readonly outcome: RotationOutcome }
  | { readonly state: "refused"; readonly registryReason: string };

type PendingRow = { statement: Buffer; grace_period_seconds: number; immediate: number; order_id: Buffer | null };
type OrderRow = {
  public_key: Buffer | null;
  previous_public_key: Buffer | null;
  grace_period_expiry: number | null;
  registry_reason: string | null;
};

/** The tables of rotations under way and of orders. Methods that change them belong into a job of the part's WriteQueue. */
export class Rotations {
  readonly #pending;
  readonly #tenants;
  readonly #insert;
  readonly #replaceStatement;
  readonly #remove;
  readonly #order;
  readonly #insertOrder;
  readonly #finishOrder;
  readonly #refuseOrder;

  constructor(db: Database) {
    this.#pending = db.prepare<[string, string], PendingRow>(
      `SELECT statement, grace_period_seconds, immediate, order_id FROM rotations WHERE app_id = ? AND service_id = ?`,
    );
    this.#tenants = db.prepare<[], { app_id: string; service_id: string }>("SELECT app_id, service_id FROM rotations");
    this.#insert = db.prepare<[string, string, Uint8Array, number, number, Uint8Array | null]>(
      `INSERT INTO rotations (app_id, service_id, statement, grace_period_seconds, immediate, order_id)
         VALUES (?, ?, ?, ?, ?, ?)`,
    );
    this.#replaceStatement = db.prepare<[Uint8Array, string, string]>(
      "UPDATE rotations SET statement = ? WHERE app_id = ? AND service_id = ?",
    );
    this.#remove = db.prepare<[string, string]>("DELETE FROM rotations WHERE app_id = ? AND service_id = ?");
    this.#order = db.prepare<[Uint8Array], OrderRow>("SELECT * FROM rotation_orders WHERE order_id = ?");
    this.#insertOrder = db.prepare<[Uint8Array]>("INSERT INTO rotation_orders (order_id) VALUES (?)");
    this.#finishOrder = db.prepare<[Uint8Array, Uint8Array, number, Uint8Array]>(
      `UPDATE rotation_orders SET public_key = ?, previous_public_key = ?, grace_period_expiry = ? WHERE order_id = ?`,
    );
    this.#refuseOrder = db.prepare<[string, Uint8Array]>(
      "UPDATE rotation_orders SET registry_reason = ? WHERE order_id = ?",
    );
  }

  /** The tenant's rotation under way. */
  pending({ appId, serviceId }: TenantId): PendingRotation | undefined {
    const row = this.#pending.get(appId, serviceId);
    return (
      row && {
        statement: fromBinary(StatementSchema, new Uint8Array(row.statement)),
        gracePeriodSeconds: row.grace_period_seconds,
        immediate: row.immediate === 1,
        orderId: row.order_id === null ? undefined : new Uint8Array(row.order_id),
      }
    );
  }

  /** The tenants that have a rotation under way. */
  pendingTenants(): TenantId[] {
    return this.#tenants.all().map((row) => ({ appId: row.app_id, serviceId: row.service_id }));
  }

  /** Begins a rotation; the tenant must have none under way, and the order must be new. */
  begin({ appId, serviceId }: TenantId, rotation: PendingRotation): void {
    const { statement, gracePeriodSeconds, immediate, orderId } = rotation;
    const bytes = toBinary(StatementSchema, statement);
    this.#insert.run(appId, serviceId, bytes, gracePeriodSeconds, immediate ? 1 : 0, orderId ?? null);
    if (orderId !== undefined) this.#insertOrder.run(orderId);
  }

  /** Puts another Statement in the place of one that the registry never accepted. */
  replaceStatement({ appId, serviceId }: TenantId, statement: Statement): void {
    this.#replaceStatement.run(toBinary(StatementSchema, statement), appId, serviceId);
  }

  /** Ends the tenant's rotation under way, and keeps for its order what became of it. */
  end({ appId, serviceId }: TenantId, result: RotationOutcome | { readonly registryReason: string }): void {
    const orderId = this.#pending.get(appId, serviceId)?.order_id;
    this.#remove.run(appId, serviceId);
    if (!orderId) return;
    if ("registryReason" in result) this.#refuseOrder.run(result.registryReason, orderId);
    else this.#finishOrder.run(result.publicKey, result.previousPublicKey, result.gracePeriodExpiry, orderId);
  }

  /** What became of the order with this Statement ID; undefined if there never was one. */
  order(orderId: Uint8Array): RotationOrder | undefined {
    const row = this.#order.get(orderId);
    if (row === undefined) return undefined;
    if (row.registry_reason !== null) return { state: "refused", registryReason: row.registry_reason };
    if (row.public_key === null || row.previous_public_key === null) return { state: "pending" };
    return {
      state: "done",
      outcome: {
        publicKey: new Uint8Array(row.public_key),
        previousPublicKey: new Uint8Array(row.previous_public_key),
        gracePeriodExpiry: row.grace_period_expiry ?? 0,
      },
    };
  }
}
