import BetterSqlite3 from "better-sqlite3";
import { ServiceStatus } from "../../../gen/omi/registry/v1/service_pb.ts";
import { AUTH_SERVICE_ID } from "../../../src/core/names.ts";
import type { Truth } from "./audit-provider.ts";
import type { FaultMesh } from "./fault-mesh.ts";
import { type ListenerName, listenerNames } from "./listeners.ts";
import { type ServiceHistory, statusName } from "./service-history.ts";
import { auditWitness } from "./witness.ts";

/** Everything in the files of the parts that listen to events which doesn't come from each event of the log, once. */
export function auditEvents(mesh: FaultMesh, truth: Truth): string[] {
  return listenerNames.flatMap((name) => {
    const file = mesh.databaseFile(name);
    const db = new BetterSqlite3(file, { readonly: true });
    const { domain } = mesh.members[name].member;
    const problems = [
      ...auditWitness(file),
      ...auditCursors(db, truth),
      ...(name === "billing" ? auditAccounts(db, truth) : auditStandings(db, name, domain, truth)),
    ];
    db.close();
    return problems.map((problem) => `${name}: ${problem}`);
  });
}

function* auditCursors(db: BetterSqlite3.Database, { facts }: Truth): Generator<string> {
  const cursors = db
    .prepare<[], { appId: string; sequence: number }>("SELECT app_id AS appId, sequence FROM event_cursors")
    .all();
  if (cursors.length === 0) yield "listens to no app";
  for (const { appId, sequence } of cursors) {
    const expected = facts.sequences.get(appId);
    if (sequence !== expected) yield `${appId}: at ${sequence}, the log at ${expected}`;
  }
}

/** An Auth Provider keeps the standing of all services of its apps, an agent that of its own tenants. */
function* auditStandings(
  db: BetterSqlite3.Database,
  name: ListenerName,
  domain: string,
  { facts, histories }: Truth,
): Generator<string> {
  const status = db
    .prepare<[string, string], ServiceStatus>("SELECT status FROM standings WHERE app_id = ? AND service_id = ?")
    .pluck();
  const kept = facts.services
    .filter(({ provider }) => name === "auth-provider" || provider === domain)
    .filter(({ serviceId }) => serviceId !== AUTH_SERVICE_ID);
  for (const { appId, serviceId } of kept) {
    const service = `${appId}/${serviceId}`;
    yield* compare(service, status.get(appId, serviceId), histories.get(service));
  }
}

function* compare(service: string, found: ServiceStatus | undefined, history?: ServiceHistory): Generator<string> {
  if (history === undefined) yield `${service}: not in the log`;
  else if (found !== history.status) {
    yield `${service}: ${found === undefined ? "unknown" : statusName(found)}, by the log ${statusName(history.status)}`;
  }
}

/** An account is closed if its service was unbound, and only then. */
function* auditAccounts(db: BetterSqlite3.Database, { histories }: Truth): Generator<string> {
  const accounts = db
    .prepare<[], { appId: string; serviceId: string; isClosed: number }>(
      "SELECT app_id AS appId, service_id AS serviceId, closed_at > 0 AS isClosed FROM accounts",
    )
    .all();
  if (accounts.length === 0) yield "no accounts";
  for (const { appId, serviceId, isClosed } of accounts) {
    const service = `${appId}/${serviceId}`;
    const isOver = histories.get(service)?.status === ServiceStatus.REVOKED;
    if ((isClosed === 1) !== isOver) yield `${service}: the account is ${isClosed === 1 ? "closed" : "open"}`;
  }
}
