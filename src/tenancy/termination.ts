import {
  DataHandling,
  type TerminateSchema,
  TerminationReceiptSchema,
  TerminationStatus,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes, toHex } from "../core/bytes.ts";
import { unixSeconds } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { type OpenedRequest, signStatement } from "../statement/statement.ts";
import { headerForRegistryOf } from "./request-header.ts";
import type { KeyRotation } from "./rotation.ts";
import type { TenancyState } from "./state.ts";
import { type Tenant, type TenantId, tenantKey, tenantUnknown } from "./tenants.ts";

/** What a part does when a tenant ends. */
export type TerminationOptions = {
  /** How the provider can handle data; others are refused. Both ways if left out. */
  readonly dataHandling?: readonly DataHandling[];
  /**
   * Stops the bill and handles the tenant's data as ordered; when it returns, that is done. Called again after a crash,
   * also if it had returned before.
   */
  readonly onTerminate: (tenant: TenantId, dataHandling: DataHandling) => void | Promise<void>;
  /** Removes what the part's own tables hold of the tenant, in the transaction in which it is gone. */
  readonly onTerminated?: (tenant: TenantId) => void;
};

const RECEIPT_ID_LENGTH = 16;

/**
 * The end of tenants. From the first commit on the tenant is out of service; the receipt is kept in the same transaction
 * in which the tenant is gone, and is the only one that it ever gets.
 */
export class TenantTermination {
  readonly #state: TenancyState;
  readonly #rotation: KeyRotation;
  readonly #options: TerminationOptions;

  constructor(state: TenancyState, rotation: KeyRotation, options: TerminationOptions) {
    this.#state = state;
    this.#rotation = rotation;
    this.#options = options;
  }

  /**
   * Ends the tenant as its developer ordered.
   *
   * @param order verified, but not yet known to be new and fresh
   * @returns the receipt
   * @throws Refusal TENANT_UNKNOWN, PROVIDER_REFUSED {field}, NONCE_REUSED, TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE;
   *   REGISTRY_UNAVAILABLE or ANSWER_INVALID if a key rotation is under way and its outcome can't be learned
   */
  terminate(order: OpenedRequest<typeof TerminateSchema>): Promise<Statement> {
    const { locks, tenants, writes } = this.#state;
    const { appId, serviceId } = order.message;
    const id = { appId, serviceId };
    return locks.run(tenantKey(id), async () => {
      // The job writes nothing for an order that is known, or that comes after the one that ended the tenant.
      const begun = await writes.run("termination.begin", () => this.#begin(tenants.get(id), order));
      return this.#complete(begun);
    });
  }

  /** Finishes the terminations that a crash left under way; those that still can't be are logged. */
  async resume(): Promise<void> {
    const { locks, tenants, logger } = this.#state;
    for (const { appId, serviceId } of tenants.inState("TERMINATING")) {
      const id = { appId, serviceId };
      try {
        await locks.run(tenantKey(id), async () => {
          const tenant = tenants.get(id);
          if (tenant?.state === "TERMINATING") await this.#complete(tenant);
        });
      } catch (error) {
        logger.warn({ ...id, err: error }, "a termination is still under way");
      }
    }
  }

  #begin(tenant: Tenant | undefined, order: OpenedRequest<typeof TerminateSchema>): Tenant {
    const { admission, tenants } = this.#state;
    const { dataHandling } = order.message;
    if (tenant?.termination !== undefined && equalBytes(order.id, tenant.termination.orderId)) return tenant;
    admission.check(order);
    if (tenant === undefined) throw tenantUnknown();
    if (tenant.termination !== undefined) return tenant;
    if (!offered(this.#options).includes(dataHandling)) {
      const metadata = { field: "data_handling" };
      throw new Refusal(Reason.PROVIDER_REFUSED, "data is not handled that way here", { metadata });
    }
    admission.admit(order);
    tenants.beginTermination(tenant, order.id, dataHandling);
    return { ...tenant, state: "TERMINATING", termination: { orderId: order.id, dataHandling, receipt: undefined } };
  }

  async #complete({ appId, serviceId, termination }: Tenant): Promise<Statement> {
    const { failpoint, writes, tenants, keys } = this.#state;
    const id = { appId, serviceId };
    if (termination === undefined) throw new Error("the tenant is not being terminated");
    if (termination.receipt !== undefined) return termination.receipt;
    // The registry believes a receipt only by the key that it holds for current.
    await this.#rotation.settle(id);
    await failpoint("termination.before-hook");
    await this.#options.onTerminate(id, termination.dataHandling);
    await failpoint("termination.after-hook");
    return writes.run("termination.finish", () => {
      const receipt = this.#signReceipt(id, termination.orderId);
      tenants.finishTermination(id, receipt);
      keys.removeAll(id);
      this.#options.onTerminated?.(id);
      return receipt;
    });
  }

  #signReceipt(tenant: TenantId, orderId: Uint8Array): Statement {
    const { keys, clock, random } = this.#state;
    const current = keys.current(tenant);
    if (current === undefined) throw new Error("the tenant has no current key");
    return signStatement(
      TerminationReceiptSchema,
      {
        header: headerForRegistryOf(tenant.appId, unixSeconds(clock), random),
        ...tenant,
        status: TerminationStatus.SUCCESS,
        message: "the tenant is gone",
        receiptId: toHex(random(RECEIPT_ID_LENGTH)),
        requestDigest: orderId,
      },
      current,
    );
  }
}

function offered({ dataHandling }: TerminationOptions): readonly DataHandling[] {
  return dataHandling ?? [DataHandling.WIPE, DataHandling.RETAIN];
}
