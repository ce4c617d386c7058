import { equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type OperationalContext, OperationalContextSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { CommittedCache } from "../store/committed-cache.ts";
import type { Database } from "../store/database.ts";
import { type TenantId, tenantKey } from "../tenancy/tenants.ts";

type Row = { context: Buffer; config_epoch: number; seen_at: number; delivered: number };

/** What a tenant last learned of its app. */
export type KnownContext = {
  readonly context: OperationalContext;
  /** Since when it has been known here, in Unix seconds. */
  readonly seenAt: number;
  /** True once the service was told. */
  readonly delivered: boolean;
};

/** The table of contexts. Methods that change it belong into a job of the part's WriteQueue. */
export class Contexts {
  readonly #get;
  readonly #epoch;
  readonly #olderThan;
  readonly #undelivered;
  readonly #outdated;
  readonly #announce;
  readonly #put;
  readonly #setDelivered;
  readonly #setEpoch;
  readonly #apps;
  readonly #rewind;
  readonly #rewindNews;
  readonly #remove;
  readonly #knownEpochs: CommittedCache<number | undefined>;

  constructor(db: Database) {
    this.#knownEpochs = new CommittedCache(db);
    this.#get = db.prepare<[string, string], Row>("SELECT * FROM contexts WHERE app_id = ? AND service_id = ?");
    this.#epoch = db
      .prepare<[string, string], number>("SELECT config_epoch FROM contexts WHERE app_id = ? AND service_id = ?")
      .pluck();
    this.#olderThan = db
      .prepare<[string, bigint], string>("SELECT service_id FROM contexts WHERE app_id = ? AND config_epoch < ?")
      .pluck();
    this.#undelivered = db.prepare<[], { app_id: string; service_id: string }>(
      "SELECT app_id, service_id FROM contexts WHERE delivered = 0",
    );
    this.#outdated = db.prepare<[], { app_id: string; config_epoch: number }>(
      `SELECT DISTINCT news.app_id, news.config_epoch FROM context_news AS news
         JOIN contexts ON contexts.app_id = news.app_id AND contexts.config_epoch < news.config_epoch`,
    );
    this.#announce = db.prepare<[string, bigint]>(
      `INSERT INTO context_news (app_id, config_epoch) VALUES (?, ?)
         ON CONFLICT (app_id) DO UPDATE SET config_epoch = max(config_epoch, excluded.config_epoch)`,
    );
    this.#put = db.prepare<[string, string, Uint8Array, bigint, number]>(
      `INSERT OR REPLACE INTO contexts (app_id, service_id, context, config_epoch, seen_at, delivered)
         VALUES (?, ?, ?, ?, ?, 0)`,
    );
    this.#setDelivered = db.prepare<[string, string, Uint8Array]>(
      "UPDATE contexts SET delivered = 1 WHERE app_id = ? AND service_id = ? AND context = ?",
    );
    this.#setEpoch = db.prepare<[bigint, string, string]>(
      "UPDATE contexts SET config_epoch = ? WHERE app_id = ? AND service_id = ?",
    );
    this.#apps = db.prepare<[], string>("SELECT app_id FROM contexts UNION SELECT app_id FROM context_news").pluck();
    this.#rewind = db.prepare<[string]>("UPDATE contexts SET config_epoch = -1 WHERE app_id = ?");
    this.#rewindNews = db.prepare<[string]>("DELETE FROM context_news WHERE app_id = ?");
    this.#remove = db.prepare<[string, string]>("DELETE FROM contexts WHERE app_id = ? AND service_id = ?");
  }

  /** How often an epoch that a tenant knows has changed, since the start. */
  get changes(): number {
    return this.#knownEpochs.changes;
  }

  get({ appId, serviceId }: TenantId): KnownContext | undefined {
    const row = this.#get.get(appId, serviceId);
    return (
      row && {
        context: fromBinary(OperationalContextSchema, new Uint8Array(row.context)),
        seenAt: row.seen_at,
        delivered: row.delivered === 1,
      }
    );
  }

  /** True if `epoch` is later than that of what the tenant knows. False if it knows nothing: then it is not in use. */
  isNews(tenant: TenantId, epoch: bigint): boolean {
    const known = this.#knownEpochs.get(tenantKey(tenant), () => this.#epoch.get(tenant.appId, tenant.serviceId));
    return known !== undefined && epoch > BigInt(known);
  }

  /** The tenants of an app to whom `epoch` is news. */
  olderThan(appId: string, epoch: bigint): TenantId[] {
    return this.#olderThan.all(appId, epoch).map((serviceId) => ({ appId, serviceId }));
  }

  /** The tenants whose service has not been told what is known. */
  undelivered(): TenantId[] {
    return this.#undelivered.all().map((row) => ({ appId: row.app_id, serviceId: row.service_id }));
  }

  /** The apps of which a tenant's context is older than what was announced, and the epoch that was. */
  outdated(): { appId: string; epoch: bigint }[] {
    return this.#outdated.all().map((row) => ({ appId: row.app_id, epoch: BigInt(row.config_epoch) }));
  }

  /** Notes that an app's context has reached an epoch, to be read by who has an older one. */
  announce(appId: string, epoch: bigint): void {
    this.#announce.run(appId, epoch);
  }

  /** Keeps a context, which its service then has to be told; unless the very same is known. */
  put(tenant: TenantId, context: OperationalContext, now: number): void {
    const known = this.get(tenant);
    if (known !== undefined && equals(OperationalContextSchema, known.context, context)) {
      this.#setEpoch.run(context.configEpoch, tenant.appId, tenant.serviceId);
      this.#knownEpochs.forget(tenantKey(tenant));
      return;
    }
    const bytes = toBinary(OperationalContextSchema, context);
    this.#put.run(tenant.appId, tenant.serviceId, bytes, context.configEpoch, now);
    this.#knownEpochs.forget(tenantKey(tenant));
  }

  /** Notes that the service was told, unless something newer has become known. */
  setDelivered({ appId, serviceId }: TenantId, context: OperationalContext): void {
    this.#setDelivered.run(appId, serviceId, toBinary(OperationalContextSchema, context));
  }

  /** The apps of which anything is known. */
  apps(): string[] {
    return this.#apps.all();
  }

  /** Lets the contexts of an app count anew: the next one that is read is news, whatever its epoch. */
  rewind(appId: string): void {
    this.#rewind.run(appId);
    this.#knownEpochs.clear();
    this.#rewindNews.run(appId);
  }

  remove({ appId, serviceId }: TenantId): void {
    this.#remove.run(appId, serviceId);
    this.#knownEpochs.forget(tenantKey({ appId, serviceId }));
  }
}
