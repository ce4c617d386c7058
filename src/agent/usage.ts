import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import {
  BillingService,
  type ReportUsageRequest,
  UsageLineSchema,
} from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { isRefusal, Reason } from "../core/refusal.ts";
import { checkBounds } from "../statement/bounds.ts";
import type { TenancyState } from "../tenancy/state.ts";
import { type TenantId, tenantKey } from "../tenancy/tenants.ts";
import type { Contexts } from "./contexts.ts";
import type { Peers } from "./peers.ts";
import type { UsageDestination, UsageOutbox } from "./usage-outbox.ts";

/** An amount on one meter, as in `UsageLine` of the billing contract. */
export type Usage = { readonly meter: string; readonly amount: bigint };

/** What {@link UsageReporting} needs. */
export type UsageReportingOptions = {
  readonly tenancy: Pick<TenancyState, "tenants" | "writes" | "clock" | "logger">;
  readonly outbox: UsageOutbox;
  readonly contexts: Contexts;
  readonly peers: Peers;
};

// The delays before a report is sent again, in milliseconds: the first, doubled each time up to the last.
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;

// How long a termination waits for a billing service, in milliseconds.
const LAST_REPORT_MS = 3000;

// There is nobody to report to any more: the account is closed, the service was unbound, or the backbone names another
// billing service.
const OVER: ReadonlySet<Reason> = new Set([Reason.ACCOUNT_CLOSED, Reason.SERVICE_UNKNOWN, Reason.SERVICE_REVOKED]);

// The report itself will never be taken.
const HOPELESS: ReadonlySet<Reason> = new Set([Reason.FIELD_INVALID, Reason.FIELD_MISMATCH]);

/** Reports what tenants use to the billing services of their apps. */
export class UsageReporting {
  readonly #options: UsageReportingOptions;
  readonly #underWay = new Map<string, Promise<void>>();
  readonly #retries = new Map<string, { readonly failures: number; readonly cancel: () => void }>();
  #isStopped = false;

  constructor(options: UsageReportingOptions) {
    this.#options = options;
  }

  /**
   * Reports what a tenant used. Resolves once that is on disk; it is sent soon, and again until it was taken, exactly once.
   * An app whose backbone names no billing service wants to know nothing.
   *
   * @throws Refusal TENANT_UNKNOWN, TENANT_TERMINATED; FIELD_INVALID {field, rule} for lines that the contract doesn't allow
   */
  async report(tenant: TenantId, lines: readonly Usage[]): Promise<void> {
    const { tenancy, outbox, contexts } = this.#options;
    const used = lines.map((line) => create(UsageLineSchema, line));
    for (const [index, line] of used.entries()) checkBounds(UsageLineSchema, line, { field: `lines[${index}]` });
    tenancy.tenants.active(tenant);
    const services = contexts.get(tenant)?.context.operationalServices ?? [];
    const destinations = services
      .filter(({ role }) => role === OperationalRole.BILLING)
      .map(({ name }) => ({ tenant, billing: name }));
    await tenancy.writes.run("usage.add", () => {
      tenancy.tenants.active(tenant);
      for (const destination of destinations) outbox.add(destination, used);
    });
    for (const destination of destinations) this.#deliverSoon(destination);
  }

  /** Goes on with what a crash or a stop left. */
  resume(): void {
    for (const destination of this.#options.outbox.destinations()) this.#deliverSoon(destination);
  }

  /** Sends what is left of a tenant that is about to end, if the billing services take it at once. */
  async settle(tenant: TenantId): Promise<void> {
    const own = this.#options.outbox.destinations().filter((each) => tenantKey(each.tenant) === tenantKey(tenant));
    await Promise.all(own.map((destination) => this.#deliver(destination, LAST_REPORT_MS)));
  }

  /** Ends what is being done in the background. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { cancel } of this.#retries.values()) cancel();
    while (this.#underWay.size > 0) await Promise.all(this.#underWay.values());
  }

  #deliverSoon(destination: UsageDestination): void {
    // One that failed has a time of its own.
    if (!this.#retries.has(nameOf(destination))) void this.#deliver(destination);
  }

  /** One at a time to each destination. Never rejects. */
  #deliver(destination: UsageDestination, timeoutMs?: number): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    const name = nameOf(destination);
    let delivery = this.#underWay.get(name);
    if (delivery === undefined) {
      delivery = this.#deliverAll(destination, timeoutMs);
      this.#underWay.set(name, delivery);
    }
    return delivery;
  }

  async #deliverAll(destination: UsageDestination, timeoutMs: number | undefined): Promise<void> {
    const { tenancy, outbox } = this.#options;
    try {
      while (!this.#isStopped) {
        const report = await tenancy.writes.run("usage.seal", () => outbox.nextReport(destination));
        if (report === undefined) break;
        await this.#send(destination, report, timeoutMs);
      }
      this.#retries.get(nameOf(destination))?.cancel();
      this.#retries.delete(nameOf(destination));
    } catch (error) {
      const { tenant, billing } = destination;
      tenancy.logger.warn({ ...tenant, billing, err: error }, "usage could not be reported yet");
      this.#retryLater(destination);
    } finally {
      // At once when nothing was found: what the same commit has added behind that look begins another delivery.
      this.#underWay.delete(nameOf(destination));
    }
  }

  async #send(destination: UsageDestination, report: ReportUsageRequest, timeoutMs?: number): Promise<void> {
    const { tenancy, outbox, peers } = this.#options;
    const { tenant, billing } = destination;
    const client = createClient(
      BillingService,
      peers.transport(tenant, { role: OperationalRole.BILLING, name: billing }),
    );
    try {
      await client.reportUsage(report, timeoutMs === undefined ? {} : { timeoutMs });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (OVER.has(error.reason)) {
        await tenancy.writes.run("usage.drop", () => outbox.drop(destination));
        return;
      }
      if (!HOPELESS.has(error.reason)) throw error;
      tenancy.logger.error({ ...tenant, billing, err: error }, "a usage report was refused for good");
    }
    await tenancy.writes.run("usage.sent", () => outbox.endReport(destination));
  }

  #retryLater(destination: UsageDestination): void {
    if (this.#isStopped) return;
    const name = nameOf(destination);
    const before = this.#retries.get(name);
    before?.cancel();
    const failures = (before?.failures ?? 0) + 1;
    const delay = Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), LAST_RETRY_MS);
    const cancel = this.#options.tenancy.clock.setTimer(delay, () => void this.#deliver(destination));
    this.#retries.set(name, { failures, cancel });
  }
}

/** No ID or name holds a slash. */
function nameOf({ tenant, billing }: UsageDestination): string {
  return `${tenantKey(tenant)}/${billing}`;
}
