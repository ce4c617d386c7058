import type { DescMessage } from "@bufbuild/protobuf";
import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import { type MasterOrder, MasterOrders } from "../tenancy/master-order.ts";
import type { Tenancy } from "../tenancy/tenancy.ts";
import { tenantKey } from "../tenancy/tenants.ts";
import { announcementOf } from "./announcement.ts";
import { tenantOf } from "./core.ts";
import type { KeyPair, KeyPairs } from "./key-pairs.ts";

/**
 * Opens what developers ask of an Auth Provider. An announcement happens between the developer and the registry, so the
 * provider learns of it from the app that comes with an order: before anything is done to a tenant, its Service key is
 * brought in line with what was announced.
 */
export class AuthOrders extends MasterOrders {
  readonly #tenancy: Tenancy;
  readonly #pairs: KeyPairs;

  constructor(tenancy: Tenancy, pairs: KeyPairs) {
    const { provider, registries, keys } = tenancy;
    super({
      domain: provider.domain,
      registries,
      otherKey: (keyId) =>
        keyId === provider.key.keyId ? provider.key.publicKey : (keys.publicKey(keyId) ?? pairs.authPublicKey(keyId)),
    });
    this.#tenancy = tenancy;
    this.#pairs = pairs;
  }

  override async open<Desc extends DescMessage>(
    schema: Desc,
    statement: Statement | undefined,
  ): Promise<MasterOrder<Desc>> {
    const order = await super.open(schema, statement);
    await this.adopt(order.app);
    return order;
  }

  /**
   * Makes the Service key of the announced pair the tenant's, if it isn't yet.
   *
   * @throws Refusal REGISTRY_UNAVAILABLE or ANSWER_INVALID while a rotation is under way whose outcome can't be learned
   */
  async adopt(app: App): Promise<void> {
    if (this.#unadopted(app) === undefined) return;
    const { locks, rotation, writes, keys, clock } = this.#tenancy;
    const tenant = tenantOf(app.appId);
    await locks.run(tenantKey(tenant), async () => {
      // A rotation under way is one of the key before, and has to end before its keys are dropped.
      await rotation.settle(tenant);
      await writes.run("keys.adopt", () => {
        const pair = this.#unadopted(app);
        const secrets = pair && this.#pairs.secrets(pair);
        if (pair === undefined || secrets === undefined) return;
        keys.replace(tenant, secrets.serviceKey, unixSeconds(clock));
        this.#pairs.setInUse(pair);
      });
    });
  }

  #unadopted({ appId, context }: App): KeyPair | undefined {
    const now = unixSeconds(this.#tenancy.clock);
    const active = this.#pairs.ofApp(appId).find((pair) => announcementOf(pair, context, now) === "active");
    return active?.inUse === false ? active : undefined;
  }
}
