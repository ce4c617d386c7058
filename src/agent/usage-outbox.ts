import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type ReportUsageRequest,
  ReportUsageRequestSchema,
  type UsageLine,
} from "../../gen/omi/billing/v1/billing_service_pb.ts";
import type { Random } from "../core/random.ts";
import type { Database } from "../store/database.ts";
import type { TenantId } from "../tenancy/tenants.ts";

/**
 * The tables of usage that is to be reported, by tenant and the name of the billing service in the app's backbone.
 *
 * - `usage_pending`: what was used and is in no report yet, by meter.
 * - `usage_reports`: the report under way, at most one. Its bytes stay until it was acknowledged, so that it counts once.
 */
export const usageMigration = `
  CREATE TABLE usage_pending (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    billing    TEXT NOT NULL,
    meter      TEXT NOT NULL,
    amount     INTEGER NOT NULL,
    PRIMARY KEY (app_id, service_id, billing, meter)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE usage_reports (
    app_id     TEXT NOT NULL,
    service_id TEXT NOT NULL,
    billing    TEXT NOT NULL,
    report     BLOB NOT NULL,
    PRIMARY KEY (app_id, service_id, billing)
  ) STRICT, WITHOUT ROWID;
`;

/** Where usage is reported to: a billing service of the tenant's app, by its name in the backbone. */
export type UsageDestination = { readonly tenant: TenantId; readonly billing: string };

type Row = { app_id: string; service_id: string; billing: string };

const REPORT_ID_LENGTH = 16;

// The bounds of a report in the contract.
const MAX_LINES = 32;
const MAX_AMOUNT = 10n ** 12n;

/**
 * Usage on its way to billing services. What is used while a report is under way is added up for the next one, so however
 * long a billing service is away, this holds no more than a report and the meters of one account.
 *
 * Methods that change the tables belong into a job of the part's WriteQueue.
 */
export class UsageOutbox {
  readonly #random: Random;
  readonly #add;
  readonly #pending;
  readonly #take;
  readonly #removeEmpty;
  readonly #report;
  readonly #insertReport;
  readonly #removeReport;
  readonly #removePending;
  readonly #destinations;
  readonly #removeTenantReports;
  readonly #removeTenantPending;

  constructor(db: Database, random: Random) {
    this.#random = random;
    const key = "app_id = ? AND service_id = ? AND billing = ?";
    this.#add = db.prepare<[string, string, string, string, bigint]>(
      `INSERT INTO usage_pending (app_id, service_id, billing, meter, amount) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET amount = amount + excluded.amount`,
    );
    this.#pending = db
      .prepare<[string, string, string], { meter: string; amount: bigint }>(
        `SELECT meter, amount FROM usage_pending WHERE ${key} ORDER BY meter LIMIT ${MAX_LINES}`,
      )
      .safeIntegers();
    this.#take = db.prepare<[bigint, string, string, string, string]>(
      `UPDATE usage_pending SET amount = amount - ? WHERE ${key} AND meter = ?`,
    );
    this.#removeEmpty = db.prepare<[string, string, string]>(`DELETE FROM usage_pending WHERE ${key} AND amount = 0`);
    this.#report = db
      .prepare<[string, string, string], Buffer>(`SELECT report FROM usage_reports WHERE ${key}`)
      .pluck();
    this.#insertReport = db.prepare<[string, string, string, Uint8Array]>(
      "INSERT INTO usage_reports (app_id, service_id, billing, report) VALUES (?, ?, ?, ?)",
    );
    this.#removeReport = db.prepare<[string, string, string]>(`DELETE FROM usage_reports WHERE ${key}`);
    this.#removePending = db.prepare<[string, string, string]>(`DELETE FROM usage_pending WHERE ${key}`);
    this.#destinations = db.prepare<[], Row>(
      `SELECT app_id, service_id, billing FROM usage_pending
         UNION SELECT app_id, service_id, billing FROM usage_reports`,
    );
    const tenantKey = "app_id = ? AND service_id = ?";
    this.#removeTenantReports = db.prepare<[string, string]>(`DELETE FROM usage_reports WHERE ${tenantKey}`);
    this.#removeTenantPending = db.prepare<[string, string]>(`DELETE FROM usage_pending WHERE ${tenantKey}`);
  }

  /** Adds usage to what is to be reported. */
  add({ tenant: { appId, serviceId }, billing }: UsageDestination, lines: readonly UsageLine[]): void {
    for (const { meter, amount } of lines) this.#add.run(appId, serviceId, billing, meter, amount);
  }

  /** All destinations for which there is something to report. */
  destinations(): UsageDestination[] {
    return this.#destinations.all().map(({ app_id: appId, service_id: serviceId, billing }) => ({
      tenant: { appId, serviceId },
      billing,
    }));
  }

  /** The report under way; a new one of what is pending if there is none. Undefined if there is nothing to report. */
  nextReport({ tenant: { appId, serviceId }, billing }: UsageDestination): ReportUsageRequest | undefined {
    const underWay = this.#report.get(appId, serviceId, billing);
    if (underWay !== undefined) return fromBinary(ReportUsageRequestSchema, new Uint8Array(underWay));
    const lines = this.#pending
      .all(appId, serviceId, billing)
      .map(({ meter, amount }) => ({ meter, amount: amount > MAX_AMOUNT ? MAX_AMOUNT : amount }));
    if (lines.length === 0) return undefined;
    for (const { meter, amount } of lines) this.#take.run(amount, appId, serviceId, billing, meter);
    this.#removeEmpty.run(appId, serviceId, billing);
    const reportId = this.#random(REPORT_ID_LENGTH);
    const report = create(ReportUsageRequestSchema, { reportId, appId, serviceId, lines });
    this.#insertReport.run(appId, serviceId, billing, toBinary(ReportUsageRequestSchema, report));
    return report;
  }

  /** Forgets the report under way: it was acknowledged, or will never be. */
  endReport({ tenant: { appId, serviceId }, billing }: UsageDestination): void {
    this.#removeReport.run(appId, serviceId, billing);
  }

  /** Forgets all that was to be reported to a destination. */
  drop(destination: UsageDestination): void {
    const { tenant, billing } = destination;
    this.endReport(destination);
    this.#removePending.run(tenant.appId, tenant.serviceId, billing);
  }

  /** Forgets all that was to be reported of a tenant. */
  dropTenant({ appId, serviceId }: TenantId): void {
    this.#removeTenantReports.run(appId, serviceId);
    this.#removeTenantPending.run(appId, serviceId);
  }
}
