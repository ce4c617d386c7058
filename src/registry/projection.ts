import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import {
  type AuthAnnounced,
  BackboneChangedSchema,
  type KeyRotated,
  type NamespaceClaimed,
  NamespaceClaimedSchema,
  type RegistryKeysPublished,
  type ServiceBound,
} from "../../gen/omi/registry/v1/log_pb.ts";
import { NamespaceStatus } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { AUTH_SERVICE_ID, foldName } from "../core/names.ts";
import { keyIdOf } from "../statement/key-id.ts";
import type { Database } from "../store/database.ts";
import { appOf, type Effect } from "./effects.ts";
import { decodeStatement } from "./keyring.ts";
import { KeyState } from "./store.ts";

/** What of a log entry a projection sees. */
export interface ProjectedEntry {
  /** Unix seconds. */
  time: number;
  statementId: Uint8Array;
  /** The encoded Statement. */
  statement: Uint8Array;
  effect: Effect;
}

type PreparedWrite = { run(...values: unknown[]): unknown };

/** The service type that the record of an Auth Provider has. */
const authServiceType = "auth-provider";

/**
 * Applies effects to the registry's tables. The same code runs when a statement is accepted and when the tables are
 * rebuilt from the log. It decides nothing: whatever depends on configuration or on time stands in the effect.
 */
export class Projection {
  readonly #db: Database;
  readonly #statements = new Map<string, PreparedWrite>();

  constructor(db: Database) {
    this.#db = db;
  }

  apply(entry: ProjectedEntry): void {
    const { effect, time } = entry;
    switch (effect.$typeName) {
      case "omi.registry.v1.RegistryKeysPublished":
        this.#publishKeys(effect, entry);
        break;
      case "omi.registry.v1.NamespaceClaimed":
        this.#claimNamespace(effect, entry);
        break;
      case "omi.registry.v1.NamespaceActivated":
        this.#run("UPDATE namespaces SET status = ? WHERE namespace = ?", NamespaceStatus.ACTIVE, effect.namespace);
        break;
      case "omi.registry.v1.AppRegistered":
        this.#run(
          `INSERT INTO apps (app_id, owner_namespace, project_slug, folded_slug, display_name, description, registered_at,
             config_epoch, backbone, auth_provider, auth_provider_url, sequence)
           VALUES (?, ?, ?, ?, ?, ?, ?, 0, x'', '', '', 0)`,
          effect.appId,
          effect.ownerNamespace,
          effect.projectSlug,
          foldName(effect.projectSlug),
          effect.displayName,
          effect.description,
          time,
        );
        break;
      case "omi.registry.v1.BackboneChanged":
        this.#run(
          "UPDATE apps SET backbone = ?, config_epoch = ? WHERE app_id = ?",
          toBinary(BackboneChangedSchema, effect),
          Number(effect.configEpoch),
          effect.appId,
        );
        break;
      case "omi.registry.v1.AuthAnnounced":
        this.#announceAuth(effect, time);
        break;
      case "omi.registry.v1.ServiceBound":
        this.#bindService(effect, time);
        break;
      case "omi.registry.v1.KeyRotated":
        this.#rotateKey(effect, time);
        break;
      case "omi.registry.v1.ServiceSuspended":
        this.#endService(effect, ServiceStatus.SUSPENDED, time);
        this.#run(
          "UPDATE services SET suspended_at = ? WHERE app_id = ? AND service_id = ?",
          time,
          effect.appId,
          effect.serviceId,
        );
        break;
      case "omi.registry.v1.ServiceUnbound":
        this.#endService(effect, ServiceStatus.REVOKED, time);
        this.#run(
          "UPDATE services SET endpoint_url = '' WHERE app_id = ? AND service_id = ?",
          effect.appId,
          effect.serviceId,
        );
        break;
      default:
        effect satisfies never;
    }
    const appId = appOf(effect);
    if (appId !== undefined) this.#run("UPDATE apps SET sequence = sequence + 1 WHERE app_id = ?", appId);
  }

  /** The registry's keys are taken for ever, as all others are. */
  #publishKeys(effect: RegistryKeysPublished, entry: ProjectedEntry): void {
    this.#run("INSERT INTO registry_keys VALUES (?, ?)", Number(effect.version), entry.statement);
    const { keys } = fromBinary(RegistryKeysSchema, decodeStatement(entry.statement).data);
    for (const { publicKey } of keys) {
      this.#run(
        `INSERT INTO keys (key_id, public_key, role, status, not_after) VALUES (?, ?, ?, ?, 0)
         ON CONFLICT (key_id) DO NOTHING`,
        keyIdOf(publicKey),
        publicKey,
        KeyRole.REGISTRY,
        KeyState.ACTIVE,
      );
    }
  }

  #claimNamespace(effect: NamespaceClaimed, entry: ProjectedEntry): void {
    const keyId = keyIdOf(effect.masterPublicKey);
    this.#run(
      `INSERT INTO namespaces (namespace, folded, status, master_key_id, master_public_key, claim, claim_statement_id,
         claimed_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      effect.namespace,
      foldName(effect.namespace),
      effect.status,
      keyId,
      effect.masterPublicKey,
      toBinary(NamespaceClaimedSchema, effect),
      entry.statementId,
      entry.time,
    );
    this.#run(
      "INSERT INTO keys (key_id, public_key, role, namespace, status, not_after) VALUES (?, ?, ?, ?, ?, 0)",
      keyId,
      effect.masterPublicKey,
      KeyRole.MASTER,
      effect.namespace,
      KeyState.ACTIVE,
    );
  }

  #announceAuth(effect: AuthAnnounced, time: number): void {
    this.#run(
      `INSERT INTO services (app_id, service_id, service_type, provider, status, endpoint_url, bound_at, updated_at,
         suspended_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
       ON CONFLICT (app_id, service_id) DO UPDATE SET provider = excluded.provider, status = excluded.status,
         endpoint_url = excluded.endpoint_url, updated_at = excluded.updated_at`,
      effect.appId,
      AUTH_SERVICE_ID,
      authServiceType,
      effect.authProvider,
      ServiceStatus.ACTIVE,
      effect.endpointUrl,
      time,
      time,
    );
    this.#revokeKeys(effect.appId, AUTH_SERVICE_ID, KeyRole.SERVICE);
    if (effect.previousAuthKeyNotAfter === 0n) this.#revokeKeys(effect.appId, AUTH_SERVICE_ID, KeyRole.AUTH);
    else this.#graceKey(effect.previousAuthPublicKey, effect.previousAuthKeyNotAfter);
    this.#addKey(effect.appId, AUTH_SERVICE_ID, KeyRole.AUTH, effect.authPublicKey);
    this.#addKey(effect.appId, AUTH_SERVICE_ID, KeyRole.SERVICE, effect.servicePublicKey);
    this.#run(
      "UPDATE apps SET auth_provider = ?, auth_provider_url = ?, config_epoch = ? WHERE app_id = ?",
      effect.authProvider,
      effect.authProviderUrl,
      Number(effect.configEpoch),
      effect.appId,
    );
  }

  #bindService(effect: ServiceBound, time: number): void {
    this.#run(
      `INSERT INTO services (app_id, service_id, service_type, provider, status, endpoint_url, bound_at, updated_at,
         suspended_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)
       ON CONFLICT (app_id, service_id) DO UPDATE SET service_type = excluded.service_type, status = excluded.status,
         endpoint_url = excluded.endpoint_url, updated_at = excluded.updated_at`,
      effect.appId,
      effect.serviceId,
      effect.serviceType,
      effect.provider,
      ServiceStatus.ACTIVE,
      effect.endpointUrl,
      time,
      time,
    );
    this.#addKey(effect.appId, effect.serviceId, KeyRole.SERVICE, effect.publicKey);
    this.#run(
      "INSERT INTO proofs (proof_id, app_id, service_id, key_id) VALUES (?, ?, ?, ?)",
      effect.proofId,
      effect.appId,
      effect.serviceId,
      keyIdOf(effect.publicKey),
    );
  }

  #rotateKey(effect: KeyRotated, time: number): void {
    // The key before the old one, if any, is past its grace or ends now: at most one key is in grace.
    this.#run(
      "UPDATE keys SET status = ?, not_after = 0 WHERE app_id = ? AND service_id = ? AND role = ? AND status = ?",
      KeyState.REVOKED,
      effect.appId,
      effect.serviceId,
      KeyRole.SERVICE,
      KeyState.GRACE,
    );
    if (effect.gracePeriodExpiry === 0n) this.#revokeKeys(effect.appId, effect.serviceId, KeyRole.SERVICE);
    else this.#graceKey(effect.oldPublicKey, effect.gracePeriodExpiry);
    this.#addKey(effect.appId, effect.serviceId, KeyRole.SERVICE, effect.newPublicKey);
    this.#run(
      "UPDATE services SET updated_at = ? WHERE app_id = ? AND service_id = ?",
      time,
      effect.appId,
      effect.serviceId,
    );
  }

  /** Stops all keys of a service; of the record `auth` also the app's Auth keys. */
  #endService(
    effect: { appId: string; serviceId: string; configEpoch: bigint },
    status: ServiceStatus,
    time: number,
  ): void {
    this.#run(
      "UPDATE services SET status = ?, updated_at = ? WHERE app_id = ? AND service_id = ?",
      status,
      time,
      effect.appId,
      effect.serviceId,
    );
    this.#revokeKeys(effect.appId, effect.serviceId, KeyRole.SERVICE);
    if (effect.serviceId !== AUTH_SERVICE_ID) return;
    this.#revokeKeys(effect.appId, AUTH_SERVICE_ID, KeyRole.AUTH);
    this.#run(
      "UPDATE apps SET auth_provider = '', auth_provider_url = '', config_epoch = ? WHERE app_id = ?",
      Number(effect.configEpoch),
      effect.appId,
    );
  }

  #addKey(appId: string, serviceId: string, role: KeyRole, publicKey: Uint8Array): void {
    this.#run(
      "INSERT INTO keys (key_id, public_key, role, app_id, service_id, status, not_after) VALUES (?, ?, ?, ?, ?, ?, 0)",
      keyIdOf(publicKey),
      publicKey,
      role,
      appId,
      serviceId,
      KeyState.ACTIVE,
    );
  }

  #graceKey(publicKey: Uint8Array, notAfter: bigint): void {
    this.#run(
      "UPDATE keys SET status = ?, not_after = ? WHERE key_id = ?",
      KeyState.GRACE,
      Number(notAfter),
      keyIdOf(publicKey),
    );
  }

  #revokeKeys(appId: string, serviceId: string, role: KeyRole): void {
    this.#run(
      "UPDATE keys SET status = ?, not_after = 0 WHERE app_id = ? AND service_id = ? AND role = ? AND status <> ?",
      KeyState.REVOKED,
      appId,
      serviceId,
      role,
      KeyState.REVOKED,
    );
  }

  #run(sql: string, ...values: unknown[]): void {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare<unknown[]>(sql);
      this.#statements.set(sql, statement);
    }
    statement.run(...values);
  }
}
