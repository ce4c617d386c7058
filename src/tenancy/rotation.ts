import type { RotateServiceKeySchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { type KeyRecord, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { RotationSchema, type Service, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { unixSeconds } from "../core/clock.ts";
import { isRefusal, Reason, Refusal, reasonName } from "../core/refusal.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { type OpenedRequest, signStatement } from "../statement/statement.ts";
import { proveKeyPossession } from "./key-possession.ts";
import { leavesOpen, registryFailure, registryRefused } from "./registry-outcome.ts";
import { headerForRegistryOf } from "./request-header.ts";
import type { PendingRotation, RotationOutcome, RotationRequest } from "./rotations.ts";
import type { TenancyState } from "./state.ts";
import { type TenantId, tenantKey } from "./tenants.ts";

/**
 * The rotation of Service keys. The new key and the exact bytes of the Rotation are on disk before they are sent, and the
 * registry answers bytes that it knows the same way for ever. So a crash at any place leaves one of three things, and
 * {@link KeyRotation.resume} makes a finished rotation of each: nothing begun; begun and perhaps accepted; finished.
 */
export class KeyRotation {
  readonly #state: TenancyState;

  constructor(state: TenancyState) {
    this.#state = state;
  }

  /**
   * Rotates a tenant's key of the provider's own accord. One that is under way already, with the same wishes, is finished
   * instead.
   *
   * @throws Refusal TENANT_UNKNOWN, TENANT_TERMINATED, REGISTRY_UNAVAILABLE or ANSWER_INVALID (it is under way and can be
   *   resumed), REGISTRY_REFUSED {registry_reason} (it is off)
   */
  rotate(tenant: TenantId, request: RotationRequest): Promise<RotationOutcome> {
    const { locks, rotations } = this.#state;
    return locks.run(tenantKey(tenant), async () => {
      const pending = rotations.pending(tenant);
      if (pending !== undefined && hasSameWishes(pending, request)) return this.#complete(tenant, pending);
      await this.settle(tenant);
      return this.#complete(tenant, await this.#begin(tenant, request));
    });
  }

  /**
   * Rotates a tenant's key as its developer ordered. The same order again has the same outcome, and rotates nothing.
   *
   * @param order verified, but not yet known to be new and fresh
   * @throws Refusal as {@link KeyRotation.rotate} does; NONCE_REUSED, TIMESTAMP_TOO_OLD or TIMESTAMP_IN_FUTURE
   */
  rotateAsOrdered(order: OpenedRequest<typeof RotateServiceKeySchema>): Promise<RotationOutcome> {
    const { locks, rotations, tenants, admission } = this.#state;
    const { appId, serviceId, gracePeriodSeconds, immediate } = order.message;
    const tenant = { appId, serviceId };
    return locks.run(tenantKey(tenant), async () => {
      const known = rotations.order(order.id);
      if (known?.state === "done") return known.outcome;
      if (known?.state === "refused") throw registryRefused(known.registryReason);
      if (known === undefined) {
        admission.check(order);
        tenants.active(tenant);
        await this.settle(tenant);
        await this.#begin(tenant, { gracePeriodSeconds, immediate }, order);
      }
      const pending = rotations.pending(tenant);
      if (pending === undefined) throw new Error("an order without outcome has no rotation under way");
      return this.#complete(tenant, pending);
    });
  }

  /**
   * Finishes the tenant's rotation under way, if there is one, either way. The caller holds the tenant's lock.
   *
   * @throws Refusal REGISTRY_UNAVAILABLE or ANSWER_INVALID: it stays under way
   */
  async settle(tenant: TenantId): Promise<void> {
    const pending = this.#state.rotations.pending(tenant);
    if (pending === undefined) return;
    try {
      await this.#complete(tenant, pending);
    } catch (error) {
      if (!isRefusal(error, Reason.REGISTRY_REFUSED)) throw error;
    }
  }

  /** Finishes the rotations that a crash or an unreachable registry left under way; those that still can't be are logged. */
  async resume(): Promise<void> {
    const { locks, rotations, logger } = this.#state;
    for (const tenant of rotations.pendingTenants()) {
      try {
        await locks.run(tenantKey(tenant), () => this.settle(tenant));
      } catch (error) {
        logger.warn({ ...tenant, err: error }, "a key rotation is still under way");
      }
    }
  }

  #begin(
    tenant: TenantId,
    request: RotationRequest,
    order?: OpenedRequest<typeof RotateServiceKeySchema>,
  ): Promise<PendingRotation> {
    const { writes, clock, admission, tenants, keys, rotations } = this.#state;
    return writes.run("rotation.begin", () => {
      if (order !== undefined) admission.admit(order);
      tenants.active(tenant);
      const next = keys.prepare(tenant, unixSeconds(clock));
      const pending = { ...request, statement: this.#sign(tenant, next, request), orderId: order?.id };
      rotations.begin(tenant, pending);
      return pending;
    });
  }

  async #complete(tenant: TenantId, pending: PendingRotation): Promise<RotationOutcome> {
    const { writes, rotations, keys } = this.#state;
    let service: Service;
    try {
      service = await this.#send(tenant, pending.statement);
    } catch (error) {
      if (!isRefusal(error, Reason.TIMESTAMP_TOO_OLD)) throw await this.#fail(tenant, error);
      // A Statement that the registry had accepted would be known to it, whatever its age. So this one never arrived, and
      // the same key may be offered in a new one.
      const statement = await writes.run("rotation.sign-again", () => {
        const again = this.#sign(tenant, nextKey(keys.next(tenant)), pending);
        rotations.replaceStatement(tenant, again);
        return again;
      });
      service = await this.#send(tenant, statement).catch(async (error) => {
        throw await this.#fail(tenant, error);
      });
    }
    return this.#finish(tenant, service);
  }

  async #send(tenant: TenantId, statement: Statement): Promise<Service> {
    const { failpoint, registries, onConfigEpoch } = this.#state;
    await failpoint("rotation.before-call");
    const answer = await registries.forApp(tenant.appId).rotateKey(statement);
    await failpoint("rotation.after-call");
    onConfigEpoch(tenant.appId, answer.configEpochHint);
    return answer.value;
  }

  /** Ends a rotation that the registry has refused, and says what a failed call means to the one who wanted it. */
  async #fail(tenant: TenantId, error: unknown): Promise<unknown> {
    if (error instanceof Refusal && !leavesOpen(error)) await this.#refuse(tenant, reasonName(error.reason));
    return registryFailure(error, this.#state.registries.forApp(tenant.appId).domain);
  }

  async #refuse(tenant: TenantId, registryReason: string): Promise<void> {
    const { writes, keys, rotations } = this.#state;
    await writes.run("rotation.refuse", () => {
      keys.discardNext(tenant);
      rotations.end(tenant, { registryReason });
    });
  }

  async #finish(tenant: TenantId, service: Service): Promise<RotationOutcome> {
    const { writes, clock, keys, rotations } = this.#state;
    const next = nextKey(keys.next(tenant)).publicKey;
    const previous = currentKey(keys.current(tenant)).publicKey;
    const active = service.keys.find(({ status }) => status === KeyStatus.ACTIVE);
    // The answer tells the service as it is now. If it was suspended or unbound since, no key counts; if another key does,
    // this provider has lost the service.
    if (service.status === ServiceStatus.ACTIVE && !holds(active, next)) {
      await this.#refuse(tenant, reasonName(Reason.KEY_NOT_CURRENT));
      throw registryRefused(reasonName(Reason.KEY_NOT_CURRENT));
    }
    const grace = service.keys.find((key) => key.status === KeyStatus.GRACE && holds(key, previous));
    const outcome: RotationOutcome = {
      publicKey: next,
      previousPublicKey: previous,
      gracePeriodExpiry: Number(grace?.notAfter ?? 0n),
    };
    return writes.run("rotation.finish", () => {
      keys.promote(tenant, outcome.gracePeriodExpiry, unixSeconds(clock));
      rotations.end(tenant, outcome);
      return outcome;
    });
  }

  /** The Rotation from the tenant's current key to `next`. */
  #sign(tenant: TenantId, next: SigningKey, { gracePeriodSeconds, immediate }: RotationRequest): Statement {
    const { keys, clock, random } = this.#state;
    const current = currentKey(keys.current(tenant));
    const now = unixSeconds(clock);
    return signStatement(
      RotationSchema,
      {
        header: headerForRegistryOf(tenant.appId, now, random),
        ...tenant,
        newPublicKey: next.publicKey,
        keyPossession: proveKeyPossession(tenant, next, {
          role: KeyRole.SERVICE,
          previousKeyId: current.keyId,
          now,
          random,
        }),
        gracePeriodSeconds,
        immediate,
        context: "key_rotation",
      },
      current,
    );
  }
}

function hasSameWishes(pending: PendingRotation, request: RotationRequest): boolean {
  return pending.gracePeriodSeconds === request.gracePeriodSeconds && pending.immediate === request.immediate;
}

function holds(record: KeyRecord | undefined, publicKey: Uint8Array): boolean {
  return record !== undefined && equalBytes(record.publicKey, publicKey);
}

// Every tenant but a terminated one has a current key, and every one with a rotation under way a next one.
function currentKey(key: SigningKey | undefined): SigningKey {
  if (key === undefined) throw new Error("the tenant has no current key");
  return key;
}

function nextKey(key: SigningKey | undefined): SigningKey {
  if (key === undefined) throw new Error("the tenant has no next key");
  return key;
}
