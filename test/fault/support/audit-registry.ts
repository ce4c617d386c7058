import { EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { appOf } from "../../../src/registry/effects.ts";
import { KeyState } from "../../../src/registry/store.ts";
import { openAnswer, statementId } from "../../../src/statement/statement.ts";
import { opened } from "./opened.ts";
import type { LoggedEffect, RegistryFacts } from "./registry-facts.ts";
import type { ServiceHistory } from "./service-history.ts";

/** Everything in a registry's file that doesn't fit together. */
export function auditRegistry(facts: RegistryFacts, histories: ReadonlyMap<string, ServiceHistory>): string[] {
  return [...auditLog(facts), ...auditNonces(facts), ...auditServices(facts, histories), ...auditProofs(facts)];
}

function* auditLog({ log, sequences }: RegistryFacts): Generator<string> {
  const seen = new Set<string>();
  const last = new Map<string, number>();
  for (const [position, entry] of log.entries()) {
    const name = `log entry ${entry.index}`;
    if (entry.index !== position + 1) yield `${name}: stands at ${position + 1}`;
    if (entry.statementId !== toHex(statementId(entry.statement))) yield `${name}: another Statement's ID`;
    if (seen.has(entry.statementId)) yield `${name}: the Statement was accepted twice`;
    seen.add(entry.statementId);
    if (entry.event?.appId !== appOf(entry.effect)) yield `${name}: the event is about another app, or missing`;
    if (entry.event === undefined) continue;
    const { appId, sequence } = entry.event;
    if (sequence !== (last.get(appId) ?? 0) + 1) yield `${name}: sequence ${sequence} after ${last.get(appId)}`;
    last.set(appId, sequence);
    if (!isAsSigned(entry)) yield `${name}: the signed event says something else`;
  }
  for (const [appId, sequence] of sequences) {
    if (last.get(appId) !== sequence) yield `${appId}: sequence ${sequence}, and ${last.get(appId)} events`;
  }
}

function isAsSigned({ index, event }: LoggedEffect): boolean {
  const message = event && openAnswer(EventSchema, event.statement).message;
  return (
    message?.appId === event?.appId &&
    message?.sequence === BigInt(event?.sequence ?? 0) &&
    message?.logIndex === BigInt(index)
  );
}

/** A spent nonce belongs to an accepted Statement, and no two of one signer have the same. */
function* auditNonces({ log, nonces }: RegistryFacts): Generator<string> {
  const used = new Map<string, string>();
  for (const { index, statement, statementId } of log) {
    const { header } = opened(statement);
    if (!("nonce" in header)) continue;
    const nonce = `${header.signer} ${toHex(header.nonce)}`;
    if (used.has(nonce)) yield `log entry ${index}: a nonce was used twice`;
    used.set(nonce, statementId);
  }
  for (const { signer, nonce, statementId } of nonces) {
    if (used.get(`${signer} ${nonce}`) !== statementId) yield `nonce ${nonce}: spent by no accepted Statement`;
  }
}

function* auditServices(
  { services, keys }: RegistryFacts,
  histories: ReadonlyMap<string, ServiceHistory>,
): Generator<string> {
  if (services.length !== histories.size) yield `${services.length} services, ${histories.size} in the log`;
  for (const { appId, serviceId, status } of services) {
    const name = `${appId}/${serviceId}`;
    const history = histories.get(name);
    if (history?.status !== status) yield `${name}: status ${status}, in the log ${history?.status}`;
    const active = (role: KeyRole) =>
      keys
        .filter((key) => key.appId === appId && key.serviceId === serviceId)
        .filter((key) => key.role === role && key.status === KeyState.ACTIVE)
        .map((key) => key.publicKey)
        .join();
    if (active(KeyRole.SERVICE) !== history?.key) yield `${name}: active Service keys: ${active(KeyRole.SERVICE)}`;
    if (active(KeyRole.AUTH) !== history?.authKey) yield `${name}: active Auth keys: ${active(KeyRole.AUTH)}`;
  }
}

/** Every binding used up one proof, and every proof bound one key. */
function* auditProofs({ log, proofs }: RegistryFacts): Generator<string> {
  const bound = log.flatMap(({ effect }) => (effect.$typeName === "omi.registry.v1.ServiceBound" ? [effect] : []));
  const proofIds = new Set(bound.map(({ proofId }) => toHex(proofId)));
  if (bound.length !== proofs.length) yield `${bound.length} bindings by ${proofs.length} proofs`;
  if (proofIds.size !== bound.length) yield "a proof has bound twice";
  if (new Set(proofs.map(({ keyId }) => keyId)).size !== proofs.length) yield "two proofs have bound the same key";
  for (const { proofId } of proofs) if (!proofIds.has(proofId)) yield `proof ${proofId} has bound nothing`;
}
