import type { DataHandling, ProvisionService } from "../../gen/omi/agent/v1/agent_pb.ts";
import type { OperationalContext } from "../../gen/omi/registry/v1/app_pb.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { TenantId } from "../tenancy/tenants.ts";

/**
 * What the vendor's service does when its tenants change. Each hook may be called again for what it has done already, as a
 * crash can come between what it did and the note that it did it; so all of them must be idempotent. What they throw ends
 * the call they belong to, and leaves the flow where it was.
 */
export type AgentHooks = {
  /** Makes what a new tenant needs, or finds it made. The tenant is not in use yet: nobody gets to it. */
  onProvision(tenant: TenantId, order: ProvisionService): void | Promise<void>;
  /** Configures the service for the tenant: at its activation, and whenever its app's context has changed. */
  onContext(tenant: TenantId, context: OperationalContext): void | Promise<void>;
  /**
   * Stops the bill, and deletes (WIPE) or puts out of reach (RETAIN) all the tenant has. Done when it returns. Also called,
   * with WIPE, for a tenant whose binding the registry refused.
   */
  onTerminate(tenant: TenantId, dataHandling: DataHandling): void | Promise<void>;
  /**
   * Looks at an order before anything is made, beyond its service type: tier, region, size, parameters. Accepts by
   * returning; refuses by throwing {@link providerRefused}. Everything is accepted if left out.
   */
  accepts?(order: ProvisionService): void | Promise<void>;
};

/** The refusal for an order that the provider does not take, because of the field with this proto name. */
export function providerRefused(field: string, message: string): Refusal {
  return new Refusal(Reason.PROVIDER_REFUSED, message, { metadata: { field } });
}
