import { create, toBinary } from "@bufbuild/protobuf";
import { ReportUsageRequestSchema, type UsageLine } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { type FieldRule, fieldInvalid } from "../core/field-invalid.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { sha256 } from "../statement/crypto.ts";
import type { Database } from "../store/database.ts";

/** Names an account: one service of one app. */
export type AccountId = { readonly appId: string; readonly serviceId: string };

/** What a service used. */
export type Account = AccountId & {
  /** Unix seconds. */
  readonly openedAt: bigint;
  /** Unix seconds; 0: it is open. */
  readonly closedAt: bigint;
  readonly reports: bigint;
  /** By ascending meter. */
  readonly totals: readonly Pick<UsageLine, "meter" | "amount">[];
};

/** A report of usage. */
export type Report = AccountId & {
  readonly reportId: Uint8Array;
  /** Each meter once. */
  readonly lines: readonly UsageLine[];
};

/** The most meters of an account, so that a bill fits into a Statement whatever a service reports. */
const MAX_METERS = 256;

/** What SQLite can count to. A single report adds at most 10^12 to a meter. */
const MAX_TOTAL = 2n ** 63n - 1n;

type AccountRow = { opened_at: bigint; closed_at: bigint; reports: bigint };

/** The accounts. Methods that change them belong into a job of the write queue. */
export class Accounts {
  readonly #account;
  readonly #openApps;
  readonly #totals;
  readonly #digest;
  readonly #open;
  readonly #close;
  readonly #insertReport;
  readonly #countReport;
  readonly #put;

  constructor(db: Database) {
    this.#account = db
      .prepare<[string, string], AccountRow>(
        "SELECT opened_at, closed_at, reports FROM accounts WHERE app_id = ? AND service_id = ?",
      )
      .safeIntegers();
    this.#openApps = db.prepare<[], string>("SELECT DISTINCT app_id FROM accounts WHERE closed_at = 0").pluck();
    this.#totals = db
      .prepare<[string, string], { meter: string; amount: bigint }>(
        "SELECT meter, amount FROM totals WHERE app_id = ? AND service_id = ? ORDER BY meter",
      )
      .safeIntegers();
    this.#digest = db
      .prepare<[string, string, Uint8Array], Buffer>(
        "SELECT digest FROM reports WHERE app_id = ? AND service_id = ? AND report_id = ?",
      )
      .pluck();
    this.#open = db.prepare<[string, string, number]>(
      "INSERT INTO accounts (app_id, service_id, opened_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    );
    this.#close = db.prepare<[bigint, string, string]>(
      "UPDATE accounts SET closed_at = ? WHERE app_id = ? AND service_id = ? AND closed_at = 0",
    );
    this.#insertReport = db.prepare<[string, string, Uint8Array, Uint8Array]>(
      "INSERT INTO reports (app_id, service_id, report_id, digest) VALUES (?, ?, ?, ?)",
    );
    this.#countReport = db.prepare<[string, string]>(
      "UPDATE accounts SET reports = reports + 1 WHERE app_id = ? AND service_id = ?",
    );
    this.#put = db.prepare<[string, string, string, bigint]>(
      `INSERT INTO totals (app_id, service_id, meter, amount) VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET amount = excluded.amount`,
    );
  }

  /** The account of a service; undefined if it never reported usage. */
  get({ appId, serviceId }: AccountId): Account | undefined {
    const row = this.#account.get(appId, serviceId);
    if (row === undefined || row.reports === 0n) return undefined;
    const { opened_at: openedAt, closed_at: closedAt, reports } = row;
    return { appId, serviceId, openedAt, closedAt, reports, totals: this.#totals.all(appId, serviceId) };
  }

  /** The apps that have an open account. */
  openApps(): string[] {
    return this.#openApps.all();
  }

  /**
   * Adds a report, unless it is known; the first one opens the account.
   *
   * @param now Unix seconds
   * @returns false if the report was known
   * @throws Refusal FIELD_MISMATCH if it was known with other lines, ACCOUNT_CLOSED, FIELD_INVALID if the account would have
   *   too many meters or too large a total
   */
  add(report: Report, now: number): boolean {
    const { appId, serviceId, reportId, lines } = report;
    const digest = digestOf(lines);
    const known = this.#digest.get(appId, serviceId, reportId);
    if (known !== undefined) {
      if (equalBytes(known, digest)) return false;
      const metadata = { field: "lines" };
      throw new Refusal(Reason.FIELD_MISMATCH, "lines: a report with this ID had others", { metadata });
    }
    this.#open.run(appId, serviceId, now);
    if (this.#account.get(appId, serviceId)?.closed_at !== 0n) {
      throw new Refusal(Reason.ACCOUNT_CLOSED, "the account was closed when the service was unbound");
    }
    this.#addLines(report);
    this.#insertReport.run(appId, serviceId, reportId, digest);
    this.#countReport.run(appId, serviceId);
    return true;
  }

  /**
   * Closes the account of a service, for ever. One that was never opened can't be any more.
   *
   * @param at Unix seconds
   */
  close({ appId, serviceId }: AccountId, at: bigint): void {
    this.#open.run(appId, serviceId, Number(at));
    this.#close.run(at, appId, serviceId);
  }

  #addLines({ appId, serviceId, lines }: Report): void {
    const totals = new Map(this.#totals.all(appId, serviceId).map(({ meter, amount }) => [meter, amount]));
    for (const [index, { meter, amount }] of lines.entries()) {
      const total = (totals.get(meter) ?? 0n) + amount;
      if (total > MAX_TOTAL) throw lineInvalid(index, "amount", "max");
      totals.set(meter, total);
      if (totals.size > MAX_METERS) throw lineInvalid(index, "meter", "max_items");
      this.#put.run(appId, serviceId, meter, total);
    }
  }
}

/** The refusal of a line of a report. */
export function lineInvalid(index: number, field: "meter" | "amount", rule: FieldRule): Refusal {
  return fieldInvalid(`lines[${index}].${field}`, rule);
}

/** The same for the same lines in any order. */
function digestOf(lines: readonly UsageLine[]): Uint8Array {
  const sorted = lines.toSorted((a, b) => (a.meter < b.meter ? -1 : 1));
  return sha256(toBinary(ReportUsageRequestSchema, create(ReportUsageRequestSchema, { lines: sorted })));
}
