import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { Database } from "../store/database.ts";
import type { TenantId } from "../tenancy/tenants.ts";

/** An order of a service that was taken, and what became of it. */
export type Provision = TenantId & {
  /** The Statement ID of the order. */
  readonly proofId: Uint8Array;
  /** The order, which is the developer's proof before the registry. */
  readonly proof: Statement;
  readonly serviceType: string;
  /** The Service key that the order binds, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly endpointUrl: string;
  /** True if the order gives a suspended service a new key. */
  readonly restores: boolean;
  /** Whether the registry has yet to accept it, has, or never will. */
  readonly state: "BINDING" | "BOUND" | "REFUSED";
  /** Why the registry refused; empty if it didn't. */
  readonly registryReason: string;
};

type Row = {
  proof_id: Buffer;
  app_id: string;
  service_id: string;
  service_type: string;
  proof: Buffer;
  public_key: Buffer;
  endpoint_url: string;
  restores: number;
  state: Provision["state"];
  registry_reason: string;
};

/** The table of orders. Methods that change it belong into a job of the part's WriteQueue. */
export class Provisions {
  readonly #get;
  readonly #underWay;
  readonly #allUnderWay;
  readonly #serviceType;
  readonly #insert;
  readonly #setState;

  constructor(db: Database) {
    this.#get = db.prepare<[Uint8Array], Row>("SELECT * FROM provisions WHERE proof_id = ?");
    this.#underWay = db.prepare<[string, string], Row>(
      "SELECT * FROM provisions WHERE app_id = ? AND service_id = ? AND state = 'BINDING'",
    );
    this.#allUnderWay = db.prepare<[], Row>("SELECT * FROM provisions WHERE state = 'BINDING'");
    this.#serviceType = db
      .prepare<[string, string], string>(
        "SELECT service_type FROM provisions WHERE app_id = ? AND service_id = ? AND state = 'BOUND' LIMIT 1",
      )
      .pluck();
    this.#insert = db.prepare<[Uint8Array, string, string, string, Uint8Array, Uint8Array, string, number]>(
      `INSERT INTO provisions
         (proof_id, app_id, service_id, service_type, proof, public_key, endpoint_url, restores, state)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'BINDING')`,
    );
    this.#setState = db.prepare<[Provision["state"], string, Uint8Array]>(
      "UPDATE provisions SET state = ?, registry_reason = ? WHERE proof_id = ? AND state = 'BINDING'",
    );
  }

  /** The order with this Statement ID. */
  get(proofId: Uint8Array): Provision | undefined {
    const row = this.#get.get(proofId);
    return row && provisionOf(row);
  }

  /** The tenant's order that the registry has not decided. */
  underWay({ appId, serviceId }: TenantId): Provision | undefined {
    const row = this.#underWay.get(appId, serviceId);
    return row && provisionOf(row);
  }

  /** All orders that their registry has not decided. */
  allUnderWay(): Provision[] {
    return this.#allUnderWay.all().map(provisionOf);
  }

  /** What kind of service a tenant that was bound is. */
  serviceType({ appId, serviceId }: TenantId): string | undefined {
    return this.#serviceType.get(appId, serviceId);
  }

  /** Takes an order; its tenant must have none under way. */
  insert(provision: Omit<Provision, "state" | "registryReason">): void {
    const { proofId, appId, serviceId, serviceType, proof, publicKey, endpointUrl, restores } = provision;
    const bytes = toBinary(StatementSchema, proof);
    this.#insert.run(proofId, appId, serviceId, serviceType, bytes, publicKey, endpointUrl, restores ? 1 : 0);
  }

  /** Notes that the registry has bound the service. */
  bound(proofId: Uint8Array): void {
    this.#setState.run("BOUND", "", proofId);
  }

  /** Notes that the registry will never bind the service by this order, and why. */
  refused(proofId: Uint8Array, registryReason: string): void {
    this.#setState.run("REFUSED", registryReason, proofId);
  }
}

function provisionOf(row: Row): Provision {
  return {
    proofId: new Uint8Array(row.proof_id),
    appId: row.app_id,
    serviceId: row.service_id,
    serviceType: row.service_type,
    proof: fromBinary(StatementSchema, new Uint8Array(row.proof)),
    publicKey: new Uint8Array(row.public_key),
    endpointUrl: row.endpoint_url,
    restores: row.restores === 1,
    state: row.state,
    registryReason: row.registry_reason,
  };
}
