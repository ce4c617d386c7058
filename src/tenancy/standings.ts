import { type Event, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { CommittedCache } from "../store/committed-cache.ts";
import type { Database } from "../store/database.ts";
import { type TenantId, tenantKey } from "./tenants.ts";

/** The table of {@link Standings}. */
export const standingsMigration = `
  CREATE TABLE standings (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    status     INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    PRIMARY KEY (app_id, service_id)
  ) STRICT, WITHOUT ROWID;
`;

/** A service that is suspended or revoked. */
export type Stopped = TenantId & { readonly status: ServiceStatus };

/**
 * Which services may be trusted, by the events of their apps: kept on disk in the transaction of each event, so that a
 * service which was stopped stays so for this party from then on, whatever it can read or not. Methods that change the table
 * belong into a job of the part's WriteQueue.
 *
 * The record `auth` is left out: it may be announced again after its end, and what counts of it is in the app itself.
 */
export class Standings {
  readonly #status;
  readonly #set;
  readonly #stopped;
  readonly #apps;
  readonly #rewind;

  readonly #known: CommittedCache<ServiceStatus | undefined>;

  constructor(db: Database) {
    this.#known = new CommittedCache(db);
    this.#status = db
      .prepare<[string, string], ServiceStatus>("SELECT status FROM standings WHERE app_id = ? AND service_id = ?")
      .pluck();
    this.#set = db.prepare<[string, string, ServiceStatus, bigint, ServiceStatus]>(
      `INSERT INTO standings (app_id, service_id, status, sequence) VALUES (?, ?, ?, ?)
         ON CONFLICT (app_id, service_id) DO UPDATE SET status = excluded.status, sequence = excluded.sequence
         WHERE excluded.sequence > standings.sequence AND standings.status <> ?`,
    );
    this.#stopped = db.prepare<[ServiceStatus], Stopped>(
      `SELECT app_id AS appId, service_id AS serviceId, status FROM standings
         WHERE status <> ? ORDER BY app_id, service_id`,
    );
    this.#apps = db.prepare<[], string>("SELECT DISTINCT app_id FROM standings").pluck();
    this.#rewind = db.prepare<[string]>("UPDATE standings SET sequence = 0 WHERE app_id = ?");
  }

  /** How often a status has changed, since the start. */
  get changes(): number {
    return this.#known.changes;
  }

  /** The service's status as of the last event; undefined if none was about it. */
  status(service: TenantId): ServiceStatus | undefined {
    return this.#known.get(tenantKey(service), () => this.#status.get(service.appId, service.serviceId));
  }

  /**
   * Checks that no event has stopped a service.
   *
   * @throws Refusal SERVICE_SUSPENDED or SERVICE_REVOKED
   */
  requireServing(service: TenantId): void {
    const status = this.status(service);
    if (status !== undefined) requireActive(status);
  }

  /** The services that events have stopped. */
  stopped(): Stopped[] {
    return this.#stopped.all(ServiceStatus.ACTIVE);
  }

  /** The apps of which anything is known. */
  apps(): string[] {
    return this.#apps.all();
  }

  /**
   * Lets events of an app count anew from its first one. Until one comes, every service stays what it is; an end is for ever
   * also then.
   */
  rewind(appId: string): void {
    this.#rewind.run(appId);
  }

  /** Keeps what an event says of its service, if it says anything. */
  apply(event: Event): void {
    const status = statusAfter(event);
    if (status !== undefined && event.serviceId !== AUTH_SERVICE_ID) this.set(event, status, event.sequence);
  }

  /** Keeps the status that a service had at a sequence of its app, unless something later is known; an end is for ever. */
  set({ appId, serviceId }: TenantId, status: ServiceStatus, sequence: bigint): void {
    this.#set.run(appId, serviceId, status, sequence, ServiceStatus.REVOKED);
    this.#known.forget(tenantKey({ appId, serviceId }));
  }
}

/**
 * Checks that a provider's own service may serve.
 *
 * @throws Refusal SERVICE_SUSPENDED, or SERVICE_REVOKED for any other status than ACTIVE
 */
export function requireActive(status: ServiceStatus): void {
  if (status === ServiceStatus.ACTIVE) return;
  throw status === ServiceStatus.SUSPENDED
    ? new Refusal(Reason.SERVICE_SUSPENDED, "the developer has suspended the service")
    : new Refusal(Reason.SERVICE_REVOKED, "the developer has unbound the service");
}

function statusAfter({ event, newPublicKey }: Event): ServiceStatus | undefined {
  switch (event) {
    case EventType.SERVICE_BOUND:
      return ServiceStatus.ACTIVE;
    case EventType.KEY_ROTATION:
      // A key that nothing replaces was stopped.
      return newPublicKey.length > 0 ? ServiceStatus.ACTIVE : ServiceStatus.SUSPENDED;
    case EventType.PURGE:
      return ServiceStatus.REVOKED;
    default:
      return undefined;
  }
}
