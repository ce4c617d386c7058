import { DataHandling, type ProvisionService, ProvisionServiceSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { toHex } from "../core/bytes.ts";
import { unixSeconds } from "../core/clock.ts";
import { MAX_NAME_LENGTH } from "../core/names.ts";
import { Reason, Refusal, reasonName } from "../core/refusal.ts";
import type { Binding } from "../directory/registry-client.ts";
import type { Verified } from "../directory/verified.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { type OpenedRequest, openRequest } from "../statement/statement.ts";
import { KeyedMutex } from "../tenancy/keyed-mutex.ts";
import { registryFailure, registryRefused } from "../tenancy/registry-outcome.ts";
import type { Standings } from "../tenancy/standings.ts";
import type { Tenancy } from "../tenancy/tenancy.ts";
import { type TenantId, tenantKey } from "../tenancy/tenants.ts";
import { checkBinding, signBinding } from "./binding.ts";
import type { ContextFlow } from "./context-flow.ts";
import type { Contexts } from "./contexts.ts";
import { type AgentHooks, providerRefused } from "./hooks.ts";
import { proofExpired, requireAcceptable } from "./order-rules.ts";
import type { Provision, Provisions } from "./provisions.ts";

/** What {@link Provisioning} needs. */
export type ProvisioningOptions = {
  readonly tenancy: Tenancy;
  readonly provisions: Provisions;
  readonly contexts: Contexts;
  readonly standings: Standings;
  /** Begins to listen to the events of a new tenant's app. */
  readonly listen: (appId: string) => void;
  readonly contextFlow: ContextFlow;
  readonly hooks: AgentHooks;
  readonly serviceTypes: readonly string[];
  readonly endpointUrl: (tenant: TenantId) => string;
};

// The registry's last word on an order: it will never bind a service by it. Any other failure leaves the order under way,
// and it ends by itself when the proof expires.
const FINAL: ReadonlySet<Reason> = new Set([
  Reason.REGISTRY_MISMATCH,
  Reason.APP_UNKNOWN,
  Reason.SIGNER_NOT_AUTHORIZED,
  Reason.SIGNATURE_INVALID,
  Reason.TARGET_MISMATCH,
  Reason.PROOF_USED,
  Reason.PROOF_EXPIRED,
  Reason.PROOF_SUPERSEDED,
  Reason.SERVICE_ID_TAKEN,
  Reason.SERVICE_ID_RESERVED,
  Reason.SERVICE_REVOKED,
  Reason.KEY_INVALID,
  Reason.KEY_IN_USE,
  Reason.FIELD_INVALID,
  Reason.FIELD_MISMATCH,
  Reason.ENDPOINT_NOT_ALLOWED,
]);

const ID_SUFFIX_BYTES = 4;

/**
 * Makes tenants and binds them. What a crash leaves is one of three things: nothing; a tenant that is PENDING, with its
 * order and its key on disk, whether or not the registry has heard of it; a tenant that is ACTIVE. The same bytes again,
 * or {@link Provisioning.resume}, take the second to its end, with the same tenant and the same key.
 */
export class Provisioning {
  readonly #options: ProvisioningOptions;
  // An order that names no service ID has no tenant to be locked before it has been given one.
  readonly #orders = new KeyedMutex();

  constructor(options: ProvisioningOptions) {
    this.#options = options;
  }

  /**
   * Does what an order asks for, or finds it done.
   *
   * @param order verified, but not yet known to be new and fresh
   * @throws Refusal what is wrong with the order; REGISTRY_UNAVAILABLE or ANSWER_INVALID while it is under way;
   *   REGISTRY_REFUSED {registry_reason}
   */
  provision(order: OpenedRequest<typeof ProvisionServiceSchema>): Promise<Provision> {
    return this.#orders.run(toHex(order.id), async () => {
      const known = this.#options.provisions.get(order.id);
      return known === undefined ? this.#takeOrder(order) : this.#resumeOrder(known);
    });
  }

  /** Finishes the orders that a crash or an unreachable registry left under way; those that still can't be are logged. */
  async resume(): Promise<void> {
    const { provisions, tenancy } = this.#options;
    for (const { appId, serviceId, proofId } of provisions.allUnderWay()) {
      try {
        await tenancy.locks.run(tenantKey({ appId, serviceId }), async () => {
          const known = provisions.get(proofId);
          const isPending = tenancy.tenants.get({ appId, serviceId })?.state === "PENDING";
          if (known?.state === "BINDING" && isPending) await this.#complete(known);
        });
      } catch (error) {
        tenancy.logger.warn({ appId, serviceId, err: error }, "a service is not bound yet");
      }
    }
  }

  async #takeOrder(order: OpenedRequest<typeof ProvisionServiceSchema>): Promise<Provision> {
    const { tenancy, serviceTypes, hooks } = this.#options;
    const { message, header } = order;
    tenancy.admission.check(order);
    const now = unixSeconds(tenancy.clock);
    requireAcceptable(message, header.timestamp, { provider: tenancy.provider, serviceTypes, now });
    await hooks.accepts?.(message);
    const tenant = { appId: message.appId, serviceId: message.serviceId || this.#pickServiceId(message) };
    return tenancy.locks.run(tenantKey(tenant), async () => {
      const restores = await this.#requireFree(tenant, message.serviceType);
      const { begun, serviceKey } = await this.#begin(tenant, order, restores);
      this.#options.listen(tenant.appId);
      return this.#complete(begun, message, serviceKey);
    });
  }

  #resumeOrder({ appId, serviceId, proofId }: Provision): Promise<Provision> {
    const { tenancy, provisions, contextFlow } = this.#options;
    const tenant = { appId, serviceId };
    return tenancy.locks.run(tenantKey(tenant), async () => {
      // Read anew, now that nothing else happens to the tenant.
      const known = provisions.get(proofId);
      if (known === undefined) throw new Error("an order was forgotten");
      if (known.state === "REFUSED") throw refusedFor(known.registryReason, orderOf(known));
      if (tenancy.tenants.get(tenant)?.termination !== undefined) throw terminated();
      if (known.state === "BINDING") return this.#complete(known);
      await contextFlow.deliver(tenant);
      return known;
    });
  }

  /**
   * Checks that an order may have this tenant. The caller holds its lock.
   *
   * @returns true if the tenant exists and its service is suspended, so that the order restores it
   */
  async #requireFree(tenant: TenantId, serviceType: string): Promise<boolean> {
    const { tenancy, provisions } = this.#options;
    await this.#settle(tenant);
    const existing = tenancy.tenants.get(tenant);
    if (existing === undefined) return false;
    if (existing.state !== "ACTIVE") throw terminated();
    await tenancy.rotation.settle(tenant);
    const status = await this.#readStatus(tenant);
    if (status === ServiceStatus.REVOKED) throw registryRefused(reasonName(Reason.SERVICE_REVOKED));
    if (status !== ServiceStatus.SUSPENDED) {
      throw new Refusal(Reason.SERVICE_ID_TAKEN, "the service ID is in use, and the service is not suspended");
    }
    if (provisions.serviceType(tenant) !== serviceType) {
      throw providerRefused("service_type", "the suspended service is of another type");
    }
    return true;
  }

  /** Takes an earlier order of the tenant to its end, either way: it may have bound the service without our knowing. */
  async #settle(tenant: TenantId): Promise<void> {
    const { provisions, tenancy } = this.#options;
    const underWay = provisions.underWay(tenant);
    if (underWay === undefined || tenancy.tenants.get(tenant)?.state !== "PENDING") return;
    try {
      await this.#complete(underWay);
    } catch (error) {
      if (provisions.get(underWay.proofId)?.state === "BINDING") throw error;
    }
  }

  async #readStatus({ appId, serviceId }: TenantId): Promise<ServiceStatus> {
    const { registries, onConfigEpoch } = this.#options.tenancy;
    const registry = registries.forApp(appId);
    try {
      const { value, configEpochHint } = await registry.resolveService(appId, serviceId, { fresh: true });
      onConfigEpoch(appId, configEpochHint);
      return value.status;
    } catch (error) {
      throw registryFailure(error, registry.domain);
    }
  }

  #begin(
    tenant: TenantId,
    order: OpenedRequest<typeof ProvisionServiceSchema>,
    restores: boolean,
  ): Promise<{ begun: Provision; serviceKey: SigningKey }> {
    const { tenancy, provisions, endpointUrl } = this.#options;
    const { writes, admission, tenants, keys } = tenancy;
    return writes.run("provision.begin", () => {
      const now = admission.admit(order);
      if (restores) tenants.setState(tenant, "PENDING");
      else tenants.insert(tenant, "PENDING", now);
      const serviceKey = keys.create(tenant, now);
      const provision = {
        ...tenant,
        proofId: order.id,
        proof: order.statement,
        serviceType: order.message.serviceType,
        publicKey: serviceKey.publicKey,
        endpointUrl: endpointUrl(tenant),
        restores,
      };
      provisions.insert(provision);
      return { begun: { ...provision, state: "BINDING", registryReason: "" }, serviceKey };
    });
  }

  /**
   * Takes an order that was taken to its end. The caller holds the tenant's lock.
   *
   * @param order what stands in the provision, if that is at hand
   * @param serviceKey the tenant's key, if that is at hand
   */
  async #complete(
    provision: Provision,
    order: ProvisionService = orderOf(provision),
    serviceKey?: SigningKey,
  ): Promise<Provision> {
    const { tenancy, provisions, contexts, standings, contextFlow, hooks } = this.#options;
    const { failpoint, writes, tenants, clock } = tenancy;
    const { appId, serviceId, proofId } = provision;
    const tenant = { appId, serviceId };
    await failpoint("provision.before-hook");
    await hooks.onProvision(tenant, order);
    await failpoint("provision.after-hook");
    const { value, header } = await this.#bind(tenant, provision, serviceKey);
    await writes.run("provision.finish", () => {
      provisions.bound(proofId);
      tenants.setState(tenant, "ACTIVE");
      contexts.put(tenant, value.context, unixSeconds(clock));
      // Events up to there, such as the suspension that this order ended, may still be on their way.
      standings.set(tenant, value.service.status, header.appSequence);
    });
    await contextFlow.deliver(tenant);
    return { ...provision, state: "BOUND" };
  }

  async #bind(
    tenant: TenantId,
    provision: Provision,
    serviceKey = this.#options.tenancy.keys.current(tenant),
  ): Promise<Verified<Binding>> {
    const { failpoint, registries, provider, clock, random } = this.#options.tenancy;
    if (serviceKey === undefined) throw new Error("a pending tenant has no key");
    const registry = registries.forApp(tenant.appId);
    const now = unixSeconds(clock);
    const binding = signBinding(provision, { serviceKey, providerKey: provider.key, now, random });
    try {
      await failpoint("provision.before-call");
      const answer = await registry.bindService(binding);
      await failpoint("provision.after-call");
      checkBinding(answer.value, provision);
      return answer;
    } catch (error) {
      if (!(error instanceof Refusal) || !FINAL.has(error.reason)) throw registryFailure(error, registry.domain);
      const reason = reasonName(error.reason);
      await this.#giveUp(tenant, provision, reason);
      throw refusedFor(reason, orderOf(provision), error);
    }
  }

  /** Undoes what an order made that will never be bound. A service that was suspended before stays so. */
  async #giveUp(tenant: TenantId, { proofId, restores }: Provision, registryReason: string): Promise<void> {
    const { tenancy, provisions, hooks } = this.#options;
    const { failpoint, writes, tenants, keys } = tenancy;
    if (!restores) {
      await failpoint("provision.before-undo");
      await hooks.onTerminate(tenant, DataHandling.WIPE);
      await failpoint("provision.after-undo");
    }
    await writes.run("provision.refuse", () => {
      provisions.refused(proofId, registryReason);
      if (restores) {
        tenants.setState(tenant, "ACTIVE");
      } else {
        tenants.remove(tenant);
        keys.removeAll(tenant);
      }
    });
  }

  /** `<service_type>-<8 hex digits>`, within the bounds of a service ID, and of no tenant of the app. */
  #pickServiceId({ appId, serviceType }: ProvisionService): string {
    const { random, tenants } = this.#options.tenancy;
    const prefix = serviceType.slice(0, MAX_NAME_LENGTH - 1 - 2 * ID_SUFFIX_BYTES).replace(/[-_]$/, "");
    for (;;) {
      const serviceId = `${prefix}-${toHex(random(ID_SUFFIX_BYTES))}`;
      if (tenants.get({ appId, serviceId }) === undefined) return serviceId;
    }
  }
}

/** The order in a provision, which was checked when it was taken. */
function orderOf({ proof }: Provision): ProvisionService {
  return openRequest(ProvisionServiceSchema, proof).message;
}

function refusedFor(registryReason: string, order: ProvisionService, cause?: unknown): Refusal {
  if (registryReason === reasonName(Reason.PROOF_EXPIRED)) return proofExpired(order);
  return registryRefused(registryReason, cause);
}

function terminated(): Refusal {
  return new Refusal(Reason.TENANT_TERMINATED, "the tenant was terminated");
}
