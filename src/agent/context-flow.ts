import type { App, OperationalContext } from "../../gen/omi/registry/v1/app_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import type { Views } from "../directory/views.ts";
import type { Tenancy } from "../tenancy/tenancy.ts";
import { type TenantId, tenantKey } from "../tenancy/tenants.ts";
import type { Contexts } from "./contexts.ts";
import type { AgentHooks } from "./hooks.ts";

/** What {@link ContextFlow} needs. */
export type ContextFlowOptions = {
  readonly tenancy: Tenancy;
  readonly contexts: Contexts;
  readonly views: Views;
  readonly onContext: AgentHooks["onContext"];
};

/** Keeps tenants' services up to date with what the registry says of their apps. */
export class ContextFlow {
  readonly #options: ContextFlowOptions;
  readonly #background = new Set<Promise<void>>();

  constructor(options: ContextFlowOptions) {
    this.#options = options;
  }

  /**
   * Tells the service the tenant's context, if it has not been told. The caller holds the tenant's lock.
   *
   * @throws what the hook throws; then the service still has to be told
   */
  async deliver(tenant: TenantId): Promise<void> {
    const { tenancy, contexts, onContext } = this.#options;
    const known = contexts.get(tenant);
    if (known === undefined || known.delivered || tenancy.tenants.get(tenant)?.state !== "ACTIVE") return;
    await tenancy.failpoint("context.before-hook");
    await onContext(tenant, known.context);
    await tenancy.failpoint("context.after-hook");
    // If a loss of power takes this back, the service is told once more, as after a crash just before.
    await tenancy.writes.run("context.delivered", () => contexts.setDelivered(tenant, known.context), {
      readAgain: true,
    });
  }

  /**
   * Tells the services what a crash or a failing hook kept from them, and reads what an event announced. What still can't be
   * told is logged.
   */
  async resume(): Promise<void> {
    for (const { appId, epoch } of this.#options.contexts.outdated()) this.follow(appId, epoch);
    for (const tenant of this.#options.contexts.undelivered()) await this.#deliverOrLog(tenant);
  }

  /** Takes note of an app as it was just read, for one of its tenants. Doesn't wait for the service to be told. */
  observe(tenant: TenantId, app: App): void {
    const { context } = app;
    if (context !== undefined && this.isNews(tenant, app)) this.#inBackground(() => this.#change(tenant, context));
  }

  /** True if an app is at a later epoch than what the tenant knows of it. */
  isNews(tenant: TenantId, { context }: App): boolean {
    return context !== undefined && this.#options.contexts.isNews(tenant, context.configEpoch);
  }

  /** Follows the word that there is something new to read of an app: reads it, if that is not old news. */
  follow(appId: string, epoch: bigint): void {
    const { contexts, views } = this.#options;
    const tenants = contexts.olderThan(appId, epoch);
    if (tenants.length === 0) return;
    this.#inBackground(async () => {
      const app = await views.refresh(appId);
      for (const tenant of tenants) this.observe(tenant, app);
    });
  }

  /** Waits for what was begun without waiting. */
  async idle(): Promise<void> {
    while (this.#background.size > 0) await Promise.all(this.#background);
  }

  async #change(tenant: TenantId, context: OperationalContext): Promise<void> {
    const { tenancy, contexts } = this.#options;
    await tenancy.writes.run("context.change", () => {
      if (contexts.isNews(tenant, context.configEpoch)) contexts.put(tenant, context, unixSeconds(tenancy.clock));
    });
    await this.#deliverOrLog(tenant);
  }

  async #deliverOrLog(tenant: TenantId): Promise<void> {
    const { locks, logger } = this.#options.tenancy;
    try {
      await locks.run(tenantKey(tenant), () => this.deliver(tenant));
    } catch (error) {
      logger.warn({ ...tenant, err: error }, "a service has not been told its context");
    }
  }

  #inBackground(work: () => Promise<void>): void {
    const done = work().catch((error: unknown) => {
      this.#options.tenancy.logger.warn({ err: error }, "an app's context could not be updated");
    });
    this.#background.add(done);
    done.finally(() => this.#background.delete(done));
  }
}
