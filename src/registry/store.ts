import type { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import type { NamespaceStatus } from "../../gen/omi/registry/v1/namespace_pb.ts";
import type { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { keyIdOf } from "../statement/key-id.ts";
import type { Database } from "../store/database.ts";
import { integerParameter } from "../store/parameters.ts";

/** A namespace. */
export interface NamespaceRow {
  namespace: string;
  status: NamespaceStatus;
  masterKeyId: string;
  masterPublicKey: Uint8Array;
  /** The NamespaceClaimed effect, encoded. */
  claim: Uint8Array;
  claimStatementId: Uint8Array;
  /** Unix seconds. */
  claimedAt: number;
}

/** What changes about an app with every event. */
export interface AppState {
  appId: string;
  configEpoch: number;
  /** The number of events so far. */
  sequence: number;
}

/** An app, with the Master key of its namespace. */
export interface AppRow extends AppState {
  ownerNamespace: string;
  projectSlug: string;
  displayName: string;
  description: string;
  /** Unix seconds. */
  registeredAt: number;
  /** The BackboneChanged effect, encoded; empty if there was none. */
  backbone: Uint8Array;
  authProvider: string;
  authProviderUrl: string;
  masterKeyId: string;
  masterPublicKey: Uint8Array;
}

/** A service record. */
export interface ServiceRow {
  appId: string;
  serviceId: string;
  serviceType: string;
  provider: string;
  status: ServiceStatus;
  endpointUrl: string;
  /** Unix seconds, as are the two below. */
  boundAt: number;
  updatedAt: number;
  /** 0 if it never was suspended. */
  suspendedAt: number;
}

/** What a proven key is worth. */
export const KeyState = { ACTIVE: 1, GRACE: 2, REVOKED: 3 } as const;
export type KeyState = (typeof KeyState)[keyof typeof KeyState];

/** A proven key: one role in one place, kept for ever, so that it never comes back and old signatures stay readable. */
export interface KeyRow {
  keyId: string;
  publicKey: Uint8Array;
  role: KeyRole;
  /** Of a Master key. */
  namespace: string | null;
  /** Of an Auth or Service key. */
  appId: string | null;
  serviceId: string | null;
  state: KeyState;
  /** Unix seconds, exclusive; 0 unless in grace. */
  notAfter: number;
}

/** A developer's proof that was used for a binding. */
export interface ProofRow {
  appId: string;
  serviceId: string;
  keyId: string;
}

/** A namespace's private contact. */
export interface ContactRow {
  namespace: string;
  email: string;
  salt: Uint8Array;
  /** SHA-256 of the code that was sent; null when none is open. */
  codeHash: Uint8Array | null;
  /** How many codes were sent. */
  codesSent: number;
  /** When the last one was sent, in Unix seconds. */
  codeSentAt: number;
}

/** A key of a service that counts. */
export type ServiceKeyRow = Pick<KeyRow, "keyId" | "publicKey" | "state" | "notAfter">;

const keyColumns = `key_id AS keyId, public_key AS publicKey, role, namespace, app_id AS appId, service_id AS serviceId,
  status AS state, not_after AS notAfter`;

const serviceColumns = `app_id AS appId, service_id AS serviceId, service_type AS serviceType, provider, status,
  endpoint_url AS endpointUrl, bound_at AS boundAt, updated_at AS updatedAt, suspended_at AS suspendedAt`;

/**
 * The registry's tables, read by name.
 *
 * Reads inside a write queue's job see what the job may build on; reads outside see
 * the last commit.
 */
export class RegistryStore {
  readonly #db: Database;
  readonly #begin;
  readonly #end;
  readonly #namespace;
  readonly #foldedNamespace;
  readonly #app;
  readonly #appState;
  readonly #foldedSlug;
  readonly #service;
  readonly #services;
  readonly #key;
  readonly #keysOfService;
  readonly #proof;
  readonly #latestKeySet;
  readonly #keySets;
  readonly #contact;
  readonly #putContact;
  readonly #replaceCode;
  readonly #closeCode;

  constructor(db: Database) {
    this.#db = db;
    this.#begin = db.prepare<[]>("BEGIN");
    this.#end = db.prepare<[]>("COMMIT");
    const namespaceColumns = `namespace, status, master_key_id AS masterKeyId, master_public_key AS masterPublicKey, claim,
      claim_statement_id AS claimStatementId, claimed_at AS claimedAt`;
    this.#namespace = db.prepare<[string], NamespaceRow>(
      `SELECT ${namespaceColumns} FROM namespaces WHERE namespace = ?`,
    );
    this.#foldedNamespace = db.prepare<[string], 1>("SELECT 1 FROM namespaces WHERE folded = ?").pluck();
    this.#app = db.prepare<[string], AppRow>(
      `SELECT app_id AS appId, owner_namespace AS ownerNamespace, project_slug AS projectSlug,
         display_name AS displayName, description, registered_at AS registeredAt, config_epoch AS configEpoch, backbone,
         auth_provider AS authProvider, auth_provider_url AS authProviderUrl, sequence,
         (SELECT master_key_id FROM namespaces WHERE namespace = owner_namespace) AS masterKeyId,
         (SELECT master_public_key FROM namespaces WHERE namespace = owner_namespace) AS masterPublicKey
       FROM apps WHERE app_id = ?`,
    );
    this.#appState = db.prepare<[string], AppState>(
      "SELECT app_id AS appId, config_epoch AS configEpoch, sequence FROM apps WHERE app_id = ?",
    );
    this.#foldedSlug = db
      .prepare<[string, string], 1>("SELECT 1 FROM apps WHERE owner_namespace = ? AND folded_slug = ?")
      .pluck();
    this.#service = db.prepare<[string, string], ServiceRow>(
      `SELECT ${serviceColumns} FROM services WHERE app_id = ? AND service_id = ?`,
    );
    this.#services = db.prepare<[string, string, number], ServiceRow>(
      `SELECT ${serviceColumns} FROM services WHERE app_id = ? AND service_id > ? ORDER BY service_id LIMIT ${integerParameter}`,
    );
    this.#key = db.prepare<[string], KeyRow>(`SELECT ${keyColumns} FROM keys WHERE key_id = ?`);
    // Few rows, which JavaScript sorts.
    this.#keysOfService = db.prepare<[string, string, number, number], ServiceKeyRow>(
      `SELECT key_id AS keyId, public_key AS publicKey, status AS state, not_after AS notAfter FROM keys
       WHERE app_id = ? AND service_id = ? AND role = ? AND status <= 2 AND (status = 1 OR not_after > ?)`,
    );
    this.#proof = db.prepare<[Uint8Array], ProofRow>(
      "SELECT app_id AS appId, service_id AS serviceId, key_id AS keyId FROM proofs WHERE proof_id = ?",
    );
    this.#latestKeySet = db.prepare<[], { version: number; statement: Uint8Array }>(
      "SELECT version, statement FROM registry_keys ORDER BY version DESC LIMIT 1",
    );
    this.#keySets = db
      .prepare<[bigint, number], Uint8Array>(
        `SELECT statement FROM registry_keys WHERE version > ? ORDER BY version LIMIT ${integerParameter}`,
      )
      .pluck();
    this.#contact = db.prepare<[string], ContactRow>(
      `SELECT namespace, email, salt, code_hash AS codeHash, codes_sent AS codesSent, code_sent_at AS codeSentAt
       FROM contacts WHERE namespace = ?`,
    );
    this.#putContact = db.prepare<[string, string, Uint8Array, Uint8Array | null, number]>(
      "INSERT INTO contacts (namespace, email, salt, code_hash, code_sent_at) VALUES (?, ?, ?, ?, ?)",
    );
    this.#replaceCode = db.prepare<[Uint8Array, number, string]>(
      `UPDATE contacts SET code_hash = ?, codes_sent = codes_sent + 1, code_sent_at = ?
       WHERE namespace = ?`,
    );
    this.#closeCode = db.prepare<[string]>("UPDATE contacts SET code_hash = NULL WHERE namespace = ?");
  }

  /**
   * Runs several reads outside of any job in one transaction: each by itself would take and give back the locks of the
   * write-ahead log, which is a quarter of their cost.
   */
  reading<T>(reads: () => T): T {
    this.#begin.run();
    try {
      return reads();
    } finally {
      // SQLite has ended it on its own after an I/O error, which is what the caller has to see.
      if (this.#db.inTransaction) this.#end.run();
    }
  }

  namespace(namespace: string): NamespaceRow | undefined {
    return this.#namespace.get(namespace);
  }

  /** True if a namespace with this folded form exists. */
  namespaceTaken(folded: string): boolean {
    return this.#foldedNamespace.get(folded) !== undefined;
  }

  app(appId: string): AppRow | undefined {
    return this.#app.get(appId);
  }

  /** The part of {@link app} that answers about its services need: far cheaper to read. */
  appState(appId: string): AppState | undefined {
    return this.#appState.get(appId);
  }

  /** True if the namespace has an app with this folded slug. */
  slugTaken(namespace: string, folded: string): boolean {
    return this.#foldedSlug.get(namespace, folded) !== undefined;
  }

  service(appId: string, serviceId: string): ServiceRow | undefined {
    return this.#service.get(appId, serviceId);
  }

  /** Up to `limit` services of an app by ascending ID, those after `afterServiceId`. */
  services(appId: string, afterServiceId: string, limit: number): ServiceRow[] {
    return this.#services.all(appId, afterServiceId, limit);
  }

  /** A proven key of any role and state. */
  key(keyId: string): KeyRow | undefined {
    return this.#key.get(keyId);
  }

  /** True if the key holds, or held, any role at this registry; the registry's own are among them. */
  keyUsed(publicKey: Uint8Array): boolean {
    return this.key(keyIdOf(publicKey)) !== undefined;
  }

  /** The keys that count at `now` (Unix seconds): the active one first, then those in grace, the longest first. */
  keysOfService(appId: string, serviceId: string, role: KeyRole, now: number): ServiceKeyRow[] {
    const keys = this.#keysOfService.all(appId, serviceId, role, now);
    return keys.length < 2 ? keys : keys.sort(byStateAndEnd);
  }

  proof(proofId: Uint8Array): ProofRow | undefined {
    return this.#proof.get(proofId);
  }

  /** The registry's key set with the highest version, as the encoded Statement. */
  latestKeySet(): { version: number; statement: Uint8Array } | undefined {
    return this.#latestKeySet.get();
  }

  /** Up to `limit` of the registry's key sets by ascending version, those after `afterVersion`, as encoded Statements. */
  keySets(afterVersion: bigint, limit: number): Uint8Array[] {
    return this.#keySets.all(afterVersion, limit);
  }

  contact(namespace: string): ContactRow | undefined {
    return this.#contact.get(namespace);
  }

  putContact({ namespace, email, salt, codeHash, codeSentAt }: Omit<ContactRow, "codesSent">): void {
    this.#putContact.run(namespace, email, salt, codeHash, codeSentAt);
  }

  /** Another code is open now instead of the one before. */
  replaceCode(namespace: string, codeHash: Uint8Array, sentAt: number): void {
    this.#replaceCode.run(codeHash, sentAt, namespace);
  }

  /** No code is open any more. */
  closeCode(namespace: string): void {
    this.#closeCode.run(namespace);
  }
}

function byStateAndEnd(a: ServiceKeyRow, b: ServiceKeyRow): number {
  return a.state - b.state || b.notAfter - a.notAfter || (a.keyId < b.keyId ? -1 : 1);
}
