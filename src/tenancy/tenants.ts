import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { CommittedCache } from "../store/committed-cache.ts";
import type { Database } from "../store/database.ts";

/** Names a tenant: one service of one app. For an Auth Provider the service ID is `auth`. */
export type TenantId = { readonly appId: string; readonly serviceId: string };

/** What a tenant is at: on the way to its first activation, in use, being ended, ended. */
export type TenantState = "PENDING" | "ACTIVE" | "TERMINATING" | "TERMINATED";

/** A tenant. */
export type Tenant = TenantId & {
  readonly state: TenantState;
  /** Unix seconds. */
  readonly createdAt: number;
  /** The order that ended the tenant; undefined before there is one. */
  readonly termination: Termination | undefined;
};

/** How a tenant is ended. */
export type Termination = {
  /** The Statement ID of the Terminate. */
  readonly orderId: Uint8Array;
  readonly dataHandling: DataHandling;
  /** What every later Terminate is answered with; undefined until the data has been handled. */
  readonly receipt: Statement | undefined;
};

/** A text that is equal for equal tenants and for no others: neither an AppID nor a service ID holds a slash. */
export function tenantKey({ appId, serviceId }: TenantId): string {
  return `${appId}/${serviceId}`;
}

type Row = {
  app_id: string;
  service_id: string;
  state: TenantState;
  created_at: number;
  termination_id: Buffer | null;
  data_handling: DataHandling;
  receipt: Buffer | null;
};

/** The table of tenants. Methods that change it belong into a job of the part's WriteQueue. */
export class Tenants {
  readonly #get;
  readonly #inState;
  readonly #ofApp;
  readonly #insert;
  readonly #setState;
  readonly #beginTermination;
  readonly #finishTermination;
  readonly #remove;
  readonly #known: CommittedCache<Tenant | undefined>;

  constructor(db: Database) {
    this.#known = new CommittedCache(db);
    this.#get = db.prepare<[string, string], Row>("SELECT * FROM tenants WHERE app_id = ? AND service_id = ?");
    this.#inState = db.prepare<[TenantState], Row>("SELECT * FROM tenants WHERE state = ?");
    this.#ofApp = db.prepare<[string], Row>("SELECT * FROM tenants WHERE app_id = ?");
    this.#insert = db.prepare<[string, string, TenantState, number]>(
      "INSERT INTO tenants (app_id, service_id, state, created_at) VALUES (?, ?, ?, ?)",
    );
    this.#setState = db.prepare<[TenantState, string, string]>(
      "UPDATE tenants SET state = ? WHERE app_id = ? AND service_id = ?",
    );
    this.#beginTermination = db.prepare<[Uint8Array, number, string, string]>(
      `UPDATE tenants SET state = 'TERMINATING', termination_id = ?, data_handling = ?
         WHERE app_id = ? AND service_id = ? AND state IN ('PENDING', 'ACTIVE')`,
    );
    this.#finishTermination = db.prepare<[Uint8Array, string, string]>(
      `UPDATE tenants SET state = 'TERMINATED', receipt = ?
         WHERE app_id = ? AND service_id = ? AND state = 'TERMINATING'`,
    );
    this.#remove = db.prepare<[string, string]>("DELETE FROM tenants WHERE app_id = ? AND service_id = ?");
  }

  /** How often a tenant has changed, since the start. */
  get changes(): number {
    return this.#known.changes;
  }

  get({ appId, serviceId }: TenantId): Tenant | undefined {
    return this.#known.get(tenantKey({ appId, serviceId }), () => {
      const row = this.#get.get(appId, serviceId);
      return row && tenantOf(row);
    });
  }

  /**
   * The tenant, if developers may still have something done to it.
   *
   * @throws Refusal TENANT_UNKNOWN if there is none or it was never activated, TENANT_TERMINATED if it is ended or being ended
   */
  active(id: TenantId): Tenant {
    const tenant = this.get(id);
    if (tenant === undefined || tenant.state === "PENDING") throw tenantUnknown();
    if (tenant.state !== "ACTIVE") throw new Refusal(Reason.TENANT_TERMINATED, "the tenant was terminated");
    return tenant;
  }

  /** All tenants in a state, as they are now. */
  inState(state: TenantState): Tenant[] {
    return this.#inState.all(state).map(tenantOf);
  }

  /** All tenants of an app, in whatever state. */
  ofApp(appId: string): Tenant[] {
    return this.#ofApp.all(appId).map(tenantOf);
  }

  /** Adds a tenant; it must not exist. */
  insert({ appId, serviceId }: TenantId, state: TenantState, now: number): void {
    this.#insert.run(appId, serviceId, state, now);
    this.#known.forget(tenantKey({ appId, serviceId }));
  }

  /** Sets the state of a tenant; for terminations use the methods below. */
  setState({ appId, serviceId }: TenantId, state: "PENDING" | "ACTIVE"): void {
    mustChange(this.#setState.run(state, appId, serviceId));
    this.#known.forget(tenantKey({ appId, serviceId }));
  }

  /** Puts the tenant out of service for ever. */
  beginTermination({ appId, serviceId }: TenantId, orderId: Uint8Array, dataHandling: DataHandling): void {
    mustChange(this.#beginTermination.run(orderId, dataHandling, appId, serviceId));
    this.#known.forget(tenantKey({ appId, serviceId }));
  }

  /** Keeps the receipt of a termination that has begun. */
  finishTermination({ appId, serviceId }: TenantId, receipt: Statement): void {
    mustChange(this.#finishTermination.run(toBinary(StatementSchema, receipt), appId, serviceId));
    this.#known.forget(tenantKey({ appId, serviceId }));
  }

  /** Forgets a tenant, so that its ID can be used again. */
  remove({ appId, serviceId }: TenantId): void {
    mustChange(this.#remove.run(appId, serviceId));
    this.#known.forget(tenantKey({ appId, serviceId }));
  }
}

/** The refusal for a tenant that does not exist here. */
export function tenantUnknown(): Refusal {
  return new Refusal(Reason.TENANT_UNKNOWN, "there is no such tenant here");
}

function mustChange({ changes }: { changes: number }): void {
  if (changes !== 1) throw new Error("no tenant in the state that this change builds on");
}

function tenantOf(row: Row): Tenant {
  return {
    appId: row.app_id,
    serviceId: row.service_id,
    state: row.state,
    createdAt: row.created_at,
    termination:
      row.termination_id === null
        ? undefined
        : {
            orderId: new Uint8Array(row.termination_id),
            dataHandling: row.data_handling,
            receipt: row.receipt === null ? undefined : fromBinary(StatementSchema, new Uint8Array(row.receipt)),
          },
  };
}
