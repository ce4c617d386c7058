import type { Random } from "../core/random.ts";
import { createSigningKey, exportSeed, type SigningKey } from "../statement/crypto.ts";
import { SEED_LENGTH } from "../statement/ed25519-form.ts";
import type { Database } from "../store/database.ts";
import type { TenantId } from "./tenants.ts";

/** What anybody may know of a tenant's current Service key. */
export type CurrentKey = TenantId & {
  readonly keyId: string;
  readonly publicKey: Uint8Array;
  /** When it became current, in Unix seconds. */
  readonly since: number;
};

/** A tenant's previous Service key, of which the public half is left. */
export type GraceKey = {
  readonly publicKey: Uint8Array;
  /** When it stops counting, in Unix seconds, exclusive. */
  readonly notAfter: number;
};

type State = "NEXT" | "CURRENT" | "GRACE";
type CurrentRow = { app_id: string; service_id: string; key_id: string; public_key: Buffer; since: number };

/**
 * The Service keys of a part's tenants: the one in use, the one that a rotation is about to put in its place, the one that
 * it replaced. Methods that change the table belong into a job of the part's WriteQueue.
 */
export class ServiceKeys {
  readonly #random: Random;
  readonly #seed;
  readonly #currentId;
  readonly #currentBefore;
  readonly #grace;
  readonly #byKeyId;
  readonly #insert;
  readonly #retire;
  readonly #promote;
  readonly #remove;
  readonly #removeAll;

  constructor(db: Database, random: Random) {
    this.#random = random;
    this.#seed = db
      .prepare<[string, string, State], Buffer>(
        "SELECT seed FROM service_keys WHERE app_id = ? AND service_id = ? AND state = ?",
      )
      .pluck();
    this.#currentId = db
      .prepare<[string, string], string>(
        "SELECT key_id FROM service_keys WHERE app_id = ? AND service_id = ? AND state = 'CURRENT'",
      )
      .pluck();
    this.#currentBefore = db.prepare<[number], CurrentRow>(
      `SELECT app_id, service_id, key_id, public_key, since FROM service_keys
         WHERE state = 'CURRENT' AND since <= ? ORDER BY since`,
    );
    this.#grace = db.prepare<[string, string], { public_key: Buffer; not_after: number }>(
      "SELECT public_key, not_after FROM service_keys WHERE app_id = ? AND service_id = ? AND state = 'GRACE'",
    );
    this.#byKeyId = db.prepare<[string], Buffer>("SELECT public_key FROM service_keys WHERE key_id = ?").pluck();
    this.#insert = db.prepare<[string, string, State, string, Uint8Array, Uint8Array, number]>(
      `INSERT INTO service_keys (app_id, service_id, state, key_id, public_key, seed, since)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#retire = db.prepare<[number, string, string]>(
      `UPDATE service_keys SET state = 'GRACE', seed = NULL, not_after = ?
         WHERE app_id = ? AND service_id = ? AND state = 'CURRENT'`,
    );
    this.#promote = db.prepare<[number, string, string]>(
      "UPDATE service_keys SET state = 'CURRENT', since = ? WHERE app_id = ? AND service_id = ? AND state = 'NEXT'",
    );
    this.#remove = db.prepare<[string, string, State]>(
      "DELETE FROM service_keys WHERE app_id = ? AND service_id = ? AND state = ?",
    );
    this.#removeAll = db.prepare<[string, string]>("DELETE FROM service_keys WHERE app_id = ? AND service_id = ?");
  }

  /** Makes the tenant's first key, or one that takes the place of all it had. */
  create(tenant: TenantId, now: number): SigningKey {
    const key = createSigningKey(this.#random(SEED_LENGTH));
    this.replace(tenant, key, now);
    return key;
  }

  /** Makes `key` the tenant's current one, in place of all it had. */
  replace(tenant: TenantId, key: SigningKey, now: number): void {
    this.removeAll(tenant);
    this.#put(tenant, "CURRENT", key, now);
  }

  /** The key that the tenant signs with. Making it of its seed takes longer than a signature: for who is about to sign. */
  current(tenant: TenantId): SigningKey | undefined {
    return this.#signingKey(tenant, "CURRENT");
  }

  /** The ID of the key that the tenant signs with. */
  currentId({ appId, serviceId }: TenantId): string | undefined {
    return this.#currentId.get(appId, serviceId);
  }

  /** The current keys of all tenants that became current at a time (Unix seconds) or before it, the oldest first. */
  currentBefore(time: number): CurrentKey[] {
    return this.#currentBefore.all(time).map((row) => ({
      appId: row.app_id,
      serviceId: row.service_id,
      keyId: row.key_id,
      publicKey: new Uint8Array(row.public_key),
      since: row.since,
    }));
  }

  /** The key that a rotation is about to make current. */
  next(tenant: TenantId): SigningKey | undefined {
    return this.#signingKey(tenant, "NEXT");
  }

  /** The key before the current one, if the registry gave it a grace period, which may have passed. */
  grace(tenant: TenantId): GraceKey | undefined {
    const row = this.#grace.get(tenant.appId, tenant.serviceId);
    return row && { publicKey: new Uint8Array(row.public_key), notAfter: row.not_after };
  }

  /** The public half of any tenant's key with this ID. */
  publicKey(keyId: string): Uint8Array | undefined {
    const publicKey = this.#byKeyId.get(keyId);
    return publicKey && new Uint8Array(publicKey);
  }

  /** Makes the key that a rotation shall make current. There must be none yet. */
  prepare(tenant: TenantId, now: number): SigningKey {
    const key = createSigningKey(this.#random(SEED_LENGTH));
    this.#put(tenant, "NEXT", key, now);
    return key;
  }

  /**
   * Makes the next key current.
   *
   * @param graceUntil when the key it replaces stops counting, in Unix seconds; 0: at once
   */
  promote({ appId, serviceId }: TenantId, graceUntil: number, now: number): void {
    this.#remove.run(appId, serviceId, "GRACE");
    if (graceUntil > 0) this.#retire.run(graceUntil, appId, serviceId);
    else this.#remove.run(appId, serviceId, "CURRENT");
    this.#promote.run(now, appId, serviceId);
  }

  /** Drops the next key: it will not become current. */
  discardNext({ appId, serviceId }: TenantId): void {
    this.#remove.run(appId, serviceId, "NEXT");
  }

  /** Drops all keys of a tenant. */
  removeAll({ appId, serviceId }: TenantId): void {
    this.#removeAll.run(appId, serviceId);
  }

  #signingKey({ appId, serviceId }: TenantId, state: "NEXT" | "CURRENT"): SigningKey | undefined {
    const seed = this.#seed.get(appId, serviceId, state);
    return seed && createSigningKey(seed);
  }

  #put({ appId, serviceId }: TenantId, state: State, key: SigningKey, now: number): void {
    this.#insert.run(appId, serviceId, state, key.keyId, key.publicKey, exportSeed(key), now);
  }
}
