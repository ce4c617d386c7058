import { LruCache } from "../core/lru-cache.ts";
import type { Random } from "../core/random.ts";
import { createSigningKey, exportSeed, type SigningKey } from "../statement/crypto.ts";
import { SEED_LENGTH } from "../statement/ed25519-form.ts";
import { CommittedCache } from "../store/committed-cache.ts";
import type { Database } from "../store/database.ts";

/** The two keys of one answer to a developer, announced together. */
export type KeyPair = {
  /** Grows with each pair that is made. */
  readonly number: number;
  readonly appId: string;
  readonly authKeyId: string;
  readonly authPublicKey: Uint8Array;
  /** The app's config epoch when the pair was made. */
  readonly configEpoch: bigint;
  /** True if the tenant's Service key is the one of this pair, or came from it by rotation. At most one pair of an app. */
  readonly inUse: boolean;
};

/** The private halves of a pair. */
export type PairSecrets = { readonly authKey: SigningKey; readonly serviceKey: SigningKey };

/** What is known of a developer's order: the pair it was answered with, undefined once the tenant is gone. */
export type KnownOrder = { readonly pair: KeyPair | undefined };

type Row = {
  number: number;
  app_id: string;
  auth_key_id: string;
  auth_public_key: Buffer;
  config_epoch: number;
  in_use: number;
};

const columns = "number, app_id, auth_key_id, auth_public_key, config_epoch, in_use";

// An app signs many tokens with one key, and importing it each time would be wasted.
const SECRETS_KEPT = 1000;

/** The keys that were made for apps. Methods that change the table belong into a job of the write queue. */
export class KeyPairs {
  readonly #random: Random;
  readonly #secretsKept = new LruCache<string, PairSecrets>(SECRETS_KEPT);
  readonly #ofApp;
  readonly #knownOfApp: CommittedCache<readonly KeyPair[]>;
  readonly #byNumber;
  readonly #secrets;
  readonly #order;
  readonly #publicKey;
  readonly #insert;
  readonly #insertOrder;
  readonly #setInUse;
  readonly #removeAll;

  constructor(db: Database, random: Random) {
    this.#random = random;
    this.#knownOfApp = new CommittedCache(db);
    this.#ofApp = db.prepare<[string], Row>(`SELECT ${columns} FROM key_pairs WHERE app_id = ? ORDER BY number DESC`);
    this.#byNumber = db.prepare<[number], Row>(`SELECT ${columns} FROM key_pairs WHERE number = ?`);
    this.#secrets = db.prepare<[number], { auth_seed: Buffer; service_seed: Buffer }>(
      "SELECT auth_seed, service_seed FROM key_pairs WHERE number = ?",
    );
    this.#order = db.prepare<[Uint8Array], { pair: number | null }>(
      "SELECT pair FROM provision_orders WHERE order_id = ?",
    );
    this.#publicKey = db
      .prepare<[string], Buffer>("SELECT auth_public_key FROM key_pairs WHERE auth_key_id = ?")
      .pluck();
    this.#insert = db.prepare<[string, string, Uint8Array, Uint8Array, Uint8Array, bigint]>(
      `INSERT INTO key_pairs (app_id, auth_key_id, auth_public_key, auth_seed, service_seed, config_epoch)
         VALUES (?, ?, ?, ?, ?, ?)`,
    );
    this.#insertOrder = db.prepare<[Uint8Array, number]>("INSERT INTO provision_orders (order_id, pair) VALUES (?, ?)");
    this.#setInUse = db.prepare<[number, string]>("UPDATE key_pairs SET in_use = (number = ?) WHERE app_id = ?");
    this.#removeAll = db.prepare<[string]>("DELETE FROM key_pairs WHERE app_id = ?");
  }

  /** The pairs of an app, newest first. */
  ofApp(appId: string): readonly KeyPair[] {
    return this.#knownOfApp.get(appId, () => this.#ofApp.all(appId).map(pairOf));
  }

  /** The private halves of a pair; undefined if it is gone. */
  secrets({ number, authKeyId }: KeyPair): PairSecrets | undefined {
    const kept = this.#secretsKept.get(authKeyId);
    if (kept !== undefined) return kept;
    const row = this.#secrets.get(number);
    if (row === undefined) return undefined;
    const secrets = { authKey: createSigningKey(row.auth_seed), serviceKey: createSigningKey(row.service_seed) };
    this.#secretsKept.set(authKeyId, secrets);
    return secrets;
  }

  /** What became of an order; undefined if it is not known. */
  order(orderId: Uint8Array): KnownOrder | undefined {
    const order = this.#order.get(orderId);
    if (order === undefined) return undefined;
    const row = order.pair === null ? undefined : this.#byNumber.get(order.pair);
    return { pair: row && pairOf(row) };
  }

  /** The public half of the Auth key with this ID. */
  authPublicKey(keyId: string): Uint8Array | undefined {
    return this.#publicKey.get(keyId);
  }

  /** Makes a pair. */
  create(appId: string, configEpoch: bigint): KeyPair {
    const authKey = createSigningKey(this.#random(SEED_LENGTH));
    const serviceKey = createSigningKey(this.#random(SEED_LENGTH));
    const { keyId, publicKey } = authKey;
    const inserted = this.#insert.run(
      appId,
      keyId,
      publicKey,
      exportSeed(authKey),
      exportSeed(serviceKey),
      configEpoch,
    );
    this.#knownOfApp.forget(appId);
    const number = Number(inserted.lastInsertRowid);
    return { number, appId, authKeyId: keyId, authPublicKey: publicKey, configEpoch, inUse: false };
  }

  /** Remembers what an order is answered with. */
  rememberOrder(orderId: Uint8Array, pair: KeyPair): void {
    this.#insertOrder.run(orderId, pair.number);
  }

  /** Notes that the tenant's Service key is the one of this pair now. */
  setInUse({ number, appId }: KeyPair): void {
    this.#setInUse.run(number, appId);
    this.#knownOfApp.forget(appId);
  }

  /** Drops all keys of an app. The orders stay known. */
  removeAll(appId: string): void {
    this.#removeAll.run(appId);
    this.#knownOfApp.forget(appId);
  }
}

function pairOf(row: Row): KeyPair {
  return {
    number: row.number,
    appId: row.app_id,
    authKeyId: row.auth_key_id,
    authPublicKey: row.auth_public_key,
    configEpoch: BigInt(row.config_epoch),
    inUse: row.in_use === 1,
  };
}
