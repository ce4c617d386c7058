import BetterSqlite3 from "better-sqlite3";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { fromHex } from "../../../src/core/bytes.ts";
import { keyIdOf } from "../../../src/statement/key-id.ts";
import { readNonces } from "./nonces.ts";
import type { RegistryFacts } from "./registry-facts.ts";
import { type ServiceHistory, statusName } from "./service-history.ts";

type Tenant = { appId: string; serviceId: string; state: string; terminationId: string | null; hasReceipt: number };
type Key = { appId: string; serviceId: string; state: string; publicKey: string };
type Order = { orderId: string; isOpen: number };
type Provision = { proofId: string; state: string; publicKey: string };
type Pair = { appId: string; authPublicKey: string; inUse: number };

/** What the registry says, to compare with. */
export interface Truth {
  readonly facts: RegistryFacts;
  readonly histories: ReadonlyMap<string, ServiceHistory>;
}

/**
 * Everything in a provider's file that doesn't fit to the registry's record. The provider has been started again after its
 * last crash, with the registry at hand, and stopped.
 */
export function auditProvider(file: string, domain: string, truth: Truth): string[] {
  const db = new BetterSqlite3(file, { readonly: true });
  try {
    const isAgent = hasTable(db, "provisions");
    const problems = [...auditTenants(db, domain, truth), ...auditOrders(db, truth)];
    problems.push(...(isAgent ? auditProvisions(db, domain, truth) : auditPairs(db, truth)));
    return problems.map((problem) => `${domain}: ${problem}`);
  } finally {
    db.close();
  }
}

function* auditTenants(db: BetterSqlite3.Database, domain: string, { facts, histories }: Truth): Generator<string> {
  const tenants = rows<Tenant>(
    db,
    `SELECT app_id AS appId, service_id AS serviceId, state, hex(termination_id) AS terminationId,
       receipt IS NOT NULL AS hasReceipt FROM tenants`,
  );
  const keys = rows<Key>(
    db,
    `SELECT app_id AS appId, service_id AS serviceId, state, lower(hex(public_key)) AS publicKey FROM service_keys`,
  );
  const byName = new Map(tenants.map((tenant) => [nameOf(tenant), tenant]));
  const ours = facts.services.filter(({ provider }) => provider === domain);
  for (const service of ours) if (!byName.has(nameOf(service))) yield `${nameOf(service)}: no tenant`;
  const bound = new Set(ours.map(nameOf));
  for (const tenant of tenants) {
    const name = nameOf(tenant);
    const history = histories.get(name);
    if (!bound.has(name) || history === undefined) {
      yield `${name}: a tenant that the registry doesn't know, ${tenant.state}`;
      continue;
    }
    const held = keys.filter((key) => nameOf(key) === name);
    if (tenant.state === "TERMINATED") {
      if (history.status !== ServiceStatus.REVOKED) yield `${name}: terminated, but ${statusName(history.status)}`;
      if (held.length > 0) yield `${name}: terminated, and has keys`;
      if (tenant.hasReceipt === 0) yield `${name}: terminated without a receipt`;
      continue;
    }
    if (tenant.state !== "ACTIVE") yield `${name}: left ${tenant.state}`;
    const current = held.filter(({ state }) => state === "CURRENT").map(({ publicKey }) => publicKey);
    if (current.length !== 1) yield `${name}: ${current.length} current keys`;
    if (history.status === ServiceStatus.ACTIVE && current[0] !== history.key) {
      yield `${name}: the current key is ${current[0]}, at the registry ${history.key}`;
    }
    if (held.some(({ state }) => state === "NEXT")) yield `${name}: a next key is left`;
    for (const { publicKey } of held) {
      if (!history.keys.includes(publicKey)) yield `${name}: a key that the registry has never seen`;
    }
  }
  const strays = keys.filter((key) => !byName.has(nameOf(key)));
  for (const key of strays) yield `${nameOf(key)}: a key without a tenant`;
}

/** Nothing is left under way, and every nonce that a developer spent belongs to an order. */
function* auditOrders(db: BetterSqlite3.Database, { facts }: Truth): Generator<string> {
  const pending = rows<{ appId: string; serviceId: string }>(
    db,
    "SELECT app_id AS appId, service_id AS serviceId FROM rotations",
  );
  for (const rotation of pending) yield `${nameOf(rotation)}: a rotation is left under way`;
  const rotationOrders = rows<Order>(
    db,
    `SELECT lower(hex(order_id)) AS orderId, public_key IS NULL AND registry_reason IS NULL AS isOpen FROM rotation_orders`,
  );
  for (const { orderId, isOpen } of rotationOrders) if (isOpen) yield `rotation order ${orderId}: no outcome`;

  const orders = new Set(rotationOrders.map(({ orderId }) => orderId));
  const others = [
    ["provisions", "proof_id"],
    ["provision_orders", "order_id"],
    ["tenants", "termination_id"],
  ] as const;
  for (const [table, column] of others) {
    if (!hasTable(db, table)) continue;
    for (const { id } of rows<{ id: string }>(db, `SELECT lower(hex(${column})) AS id FROM ${table}`)) orders.add(id);
  }
  const masters = new Set(facts.keys.filter(({ role }) => role === KeyRole.MASTER).map(({ keyId }) => keyId));
  const nonces = readNonces(db).filter(({ signer }) => masters.has(signer));
  if (new Set(nonces.map(({ statementId }) => statementId)).size !== nonces.length) yield "an order spent two nonces";
  for (const { statementId } of nonces) {
    if (!orders.has(statementId)) yield `a nonce was spent by ${statementId}, which is no order`;
  }
}

/** Every order is decided, and the registry has bound exactly the keys of those that are bound here. */
function* auditProvisions(db: BetterSqlite3.Database, domain: string, { facts }: Truth): Generator<string> {
  const provisions = rows<Provision>(
    db,
    "SELECT lower(hex(proof_id)) AS proofId, state, lower(hex(public_key)) AS publicKey FROM provisions",
  );
  const providers = new Map(facts.services.map((service) => [nameOf(service), service.provider]));
  const proofs = new Map(
    facts.proofs.filter((proof) => providers.get(nameOf(proof)) === domain).map((proof) => [proof.proofId, proof]),
  );
  for (const { proofId, state, publicKey } of provisions) {
    if (state === "BINDING") yield `order ${proofId}: left under way`;
    const proof = proofs.get(proofId);
    if (state === "BOUND" && proof?.keyId !== keyIdOf(fromHex(publicKey) ?? new Uint8Array())) {
      yield `order ${proofId}: bound here, at the registry ${proof === undefined ? "not" : "with another key"}`;
    }
    proofs.delete(proofId);
  }
  for (const proofId of proofs.keys()) yield `order ${proofId}: bound at the registry, unknown here`;
}

/** The pair in use is the one that the registry lists. */
function* auditPairs(db: BetterSqlite3.Database, { histories }: Truth): Generator<string> {
  const pairs = rows<Pair>(
    db,
    "SELECT app_id AS appId, lower(hex(auth_public_key)) AS authPublicKey, in_use AS inUse FROM key_pairs",
  );
  for (const { appId, serviceId, status, authKey } of histories.values()) {
    if (serviceId !== "auth" || status !== ServiceStatus.ACTIVE) continue;
    const inUse = pairs.filter((pair) => pair.appId === appId && pair.inUse === 1);
    if (inUse.map(({ authPublicKey }) => authPublicKey).join() !== authKey) {
      yield `${appId}: ${inUse.length} pairs in use, not that of the registry's Auth key`;
    }
  }
}

function nameOf({ appId, serviceId }: { appId: string; serviceId: string }): string {
  return `${appId}/${serviceId}`;
}

function rows<T>(db: BetterSqlite3.Database, sql: string): T[] {
  return db.prepare<[], T>(sql).all();
}

function hasTable(db: BetterSqlite3.Database, name: string): boolean {
  return db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?").get(name) !== undefined;
}
