import type { ServiceImpl } from "@connectrpc/connect";
import { AuthProvisionedSchema, ProvisionAuthSchema } from "../../../gen/omi/auth/v1/auth_pb.ts";
import type { AuthProviderService } from "../../../gen/omi/auth/v1/auth_service_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import type { App } from "../../../gen/omi/registry/v1/app_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { OpenedRequest } from "../../statement/statement.ts";
import { signProviderAnswer } from "../../tenancy/answer.ts";
import { proveKeyPossession } from "../../tenancy/key-possession.ts";
import { announcementOf } from "../announcement.ts";
import { type AuthCore, tenantOf } from "../core.ts";
import type { KeyPair, PairSecrets } from "../key-pairs.ts";

type Order = OpenedRequest<typeof ProvisionAuthSchema>;

/** `AuthProviderService.ProvisionAuth`. */
export function provisionAuth(core: AuthCore): ServiceImpl<typeof AuthProviderService>["provisionAuth"] {
  return async ({ statement }) => {
    const { opened, app } = await core.orders.open(ProvisionAuthSchema, statement);
    const secrets = await core.writes.run("provision-auth", () => secretsFor(core, opened, app));
    core.listen(opened.message.appId);
    return { answer: answer(core, opened, secrets) };
  };
}

/** The keys that an order is answered with, made if there are none that wait for their announcement. */
function secretsFor(core: AuthCore, order: Order, app: App): PairSecrets {
  const { pairs, tenancy } = core;
  const { appId } = order.message;
  const known = pairs.order(order.id);
  if (known === undefined) tenancy.admission.check(order);
  if (tenancy.tenants.get(tenantOf(appId))?.termination !== undefined) throw refusedForEver();
  const pair = known === undefined ? pairFor(core, order, app) : known.pair;
  const secrets = pair && pairs.secrets(pair);
  if (secrets === undefined) throw new Error("a tenant that is not terminated has lost its keys");
  return secrets;
}

function pairFor({ pairs, tenancy }: AuthCore, order: Order, app: App): KeyPair {
  const { appId } = order.message;
  const tenant = tenantOf(appId);
  const now = tenancy.admission.admit(order);
  if (tenancy.tenants.get(tenant) === undefined) tenancy.tenants.insert(tenant, "ACTIVE", now);
  const newest = pairs.ofApp(appId)[0];
  const waits = newest !== undefined && announcementOf(newest, app.context, now) === "pending";
  const pair = waits ? newest : pairs.create(appId, app.context?.configEpoch ?? 0n);
  pairs.rememberOrder(order.id, pair);
  // The first pair's Service key is the tenant's at once, so that a tenant can be terminated whatever becomes of it.
  const secrets = pairs.secrets(pair);
  if (tenancy.keys.current(tenant) === undefined && secrets !== undefined) {
    tenancy.keys.replace(tenant, secrets.serviceKey, now);
    pairs.setInUse(pair);
  }
  return pair;
}

/** Proofs of possession count for minutes only, so they are made anew for each answer. */
function answer({ issuer, tenancy, clock, random }: AuthCore, order: Order, { authKey, serviceKey }: PairSecrets) {
  const { appId } = order.message;
  const tenant = tenantOf(appId);
  const now = unixSeconds(clock);
  return signProviderAnswer(
    AuthProvisionedSchema,
    {
      appId,
      authPublicKey: authKey.publicKey,
      servicePublicKey: serviceKey.publicKey,
      authProviderUrl: issuer.urlOf(appId),
      authKeyPossession: proveKeyPossession(tenant, authKey, { role: KeyRole.AUTH, now, random }),
      serviceKeyPossession: proveKeyPossession(tenant, serviceKey, { role: KeyRole.SERVICE, now, random }),
    },
    { order, key: tenancy.provider.key, now },
  );
}

/** A termination is permanent: nothing brings the tenant back, least of all an old order. */
function refusedForEver(): Refusal {
  return new Refusal(Reason.PROVIDER_REFUSED, "the app's tenant was terminated here", {
    metadata: { field: "app_id" },
  });
}
