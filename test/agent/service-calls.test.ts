import { createClient, createRouterTransport, type Transport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ServiceTokenService } from "../../gen/omi/auth/v1/token_service_pb.ts";
import { BillingService } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { ArticleService } from "../../gen/omi/sample/article/v1/article_service_pb.ts";
import { callerOf } from "../../src/agent/access.ts";
import { Reason } from "../../src/core/refusal.ts";
import { outcomeOf } from "../auth/support.ts";
import { backboneOf, suspendOf, unbindOf } from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { providers } from "../support/registry.ts";
import { type CallingMesh, startCallingMesh } from "./calls.ts";

/**
 * Two vendors in one app: `shop` of crm.test, which calls `journal` of article.cms.test.
 *
 * @param beforeAsking is waited for before a request for a token leaves `shop`
 * @param authProvider what `shop` asks instead of the app's Auth Provider
 */
async function startWorld({
  beforeAsking = async () => {},
  authProvider,
}: {
  beforeAsking?: () => Promise<void>;
  authProvider?: Transport;
} = {}) {
  const mesh = await startCallingMesh();
  const seen: { caller: string | undefined; token: string | null }[] = [];
  const callee = await mesh.startAgent(providers.article, {
    routes(router, agent) {
      // Any RPC whose contract says ACCESS_SERVICE_TOKEN.
      router.service(
        BillingService,
        {
          reportUsage(_request, { values, requestHeader }) {
            seen.push({ caller: callerOf(values).callingService, token: requestHeader.get("authorization") });
            return {};
          },
        },
        { interceptors: [agent.interceptor] },
      );
      router.service(ArticleService, { listArticles: () => ({}) }, { interceptors: [agent.interceptor] });
    },
  });
  const caller = await mesh.startAgent(providers.crm, {
    connections: {
      async transportFor(...args) {
        await beforeAsking();
        return authProvider ?? mesh.connections().transportFor(...args);
      },
      transportTo: (...args) => mesh.connections().transportTo(...args),
    },
  });
  await mesh.provision(callee, "journal");
  await mesh.provision(caller, "shop");
  const tenant = { appId: mesh.app.appId, serviceId: "shop" };
  const call = () => createClient(BillingService, caller.agent.peer(tenant, { serviceId: "journal" })).reportUsage({});
  return { ...mesh, seen, callee, caller, tenant, call };
}

function serviceOf({ app }: Pick<CallingMesh, "app">, serviceId: string) {
  return { app, serviceId, key: testKey("nobody") };
}

test("a service calls another one of its app, which learns who called", async () => {
  const { call, seen } = await startWorld();
  await call();
  expect(seen.map(({ caller }) => caller)).toEqual(["shop"]);
});

test("a token is asked for once, and again when most of its life is over", async () => {
  const { registry, call, seen } = await startWorld();
  await Promise.all([call(), call()]);
  await call();
  expect(new Set(seen.map(({ token }) => token)).size).toBe(1);
  registry.clock.advance(601);
  await call();
  expect(new Set(seen.map(({ token }) => token)).size).toBe(2);
});

test("after a rotation a token of the new key is used, which is accepted at once", async () => {
  const { registry, caller, tenant, call, seen } = await startWorld();
  await call();
  registry.clock.advance(2);
  await caller.agent.rotate(tenant, { immediate: true });
  await call();
  expect(new Set(seen.map(({ token }) => token)).size).toBe(2);
});

test("a token that was asked for with the key before a rotation is not waited for by who calls behind it", async () => {
  const asked = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const beforeAsking = async () => {
    asked.resolve();
    await goOn.promise;
  };
  const { caller, tenant } = await startWorld({ beforeAsking });
  const token = () => outcomeOf(caller.agent.serviceToken(tenant, { serviceId: "journal" }));
  const before = token();
  await asked.promise;
  await caller.agent.rotate(tenant, { immediate: true });
  const behind = token();
  goOn.resolve();
  expect([await before, await behind]).toEqual(["SIGNER_UNKNOWN header.signer", "ok"]);
});

test.each([
  [4096, "ok"],
  [4097, "ANSWER_INVALID access_token"],
])("of an Auth Provider's token of %i characters becomes: %s", async (length, outcome) => {
  const authProvider = createRouterTransport(({ service }) =>
    service(ServiceTokenService, {
      issueServiceToken: () => ({ accessToken: "a".repeat(length), expiresAt: 2n ** 40n }),
    }),
  );
  const { caller, tenant } = await startWorld({ authProvider });
  expect(await outcomeOf(caller.agent.serviceToken(tenant, { serviceId: "journal" }))).toBe(outcome);
});

test("the agent verifies service tokens for services only, and user tokens for users only", async () => {
  const { caller, tenant, connections, callee } = await startWorld();
  const token = await caller.agent.serviceToken(tenant, { serviceId: "journal" });
  expect(await outcomeOf(callee.agent.authenticate(token))).toBe("TOKEN_INVALID token_use");
  const transport = await connections().transportFor(providers.article.domain, Reason.INTERNAL);
  const headers = { authorization: `Bearer ${token}` };
  expect(await outcomeOf(createClient(ArticleService, transport).listArticles({}, { headers }))).toBe(
    "TOKEN_INVALID token_use",
  );
  expect(await outcomeOf(createClient(BillingService, transport).reportUsage({}, { headers }))).toBe("ok");
  expect(await outcomeOf(createClient(BillingService, transport).reportUsage({}))).toBe("TOKEN_MISSING");
});

test.each([
  ["rotated without grace", "TOKEN_REVOKED"],
  ["rotated, in grace", "ok"],
  ["rotated, grace over", "TOKEN_REVOKED"],
  ["suspended", "TOKEN_REVOKED"],
  ["unbound", "TOKEN_REVOKED"],
])("a token of a service that was then %s: %s", async (what, outcome) => {
  const world = await startWorld();
  const { registry, caller, tenant, connections } = world;
  const { clock } = registry;
  const token = await caller.agent.serviceToken(tenant, { serviceId: "journal" });
  const shop = serviceOf(world, "shop");
  if (what === "suspended") await registry.registry.suspendService({ statement: suspendOf(clock, shop) });
  else if (what === "unbound") await registry.registry.unbindService({ statement: unbindOf(clock, shop) });
  else await caller.agent.rotate(tenant, { immediate: what.includes("without"), gracePeriodSeconds: 60 });
  clock.advance(what.includes("over") ? 61 : 11);
  const transport = await connections().transportFor(providers.article.domain, Reason.INTERNAL);
  const headers = { authorization: `Bearer ${token}` };
  expect(await outcomeOf(createClient(BillingService, transport).reportUsage({}, { headers }))).toBe(outcome);
});

test.each([
  ["suspended", "SERVICE_SUSPENDED"],
  ["unbound", "SERVICE_REVOKED"],
  ["unknown", "SERVICE_UNKNOWN"],
])("a peer that is %s is not called", async (what, outcome) => {
  const world = await startWorld();
  const { registry, caller, tenant, call, seen } = world;
  const journal = serviceOf(world, "journal");
  if (what === "suspended") await registry.registry.suspendService({ statement: suspendOf(registry.clock, journal) });
  if (what === "unbound") await registry.registry.unbindService({ statement: unbindOf(registry.clock, journal) });
  const made =
    what === "unknown"
      ? createClient(BillingService, caller.agent.peer(tenant, { serviceId: "nobody" })).reportUsage({})
      : call();
  expect(await outcomeOf(made)).toBe(outcome);
  expect(seen).toEqual([]);
});

test.each([
  ["a peer", providers.article, "journal.article.cms.test"],
  ["the Auth Provider", providers.auth, "auth.test"],
])("%s that can't be reached is named", async (_, party, host) => {
  const { locate, call } = await startWorld();
  locate({ ...party, party: Party.SERVICE_PROVIDER, at: "127.0.0.1:1" });
  await expect(call()).rejects.toMatchObject({ reason: Reason.PROVIDER_UNAVAILABLE, metadata: { host } });
});

test("no token for a tenant that isn't one, or isn't one any more", async () => {
  const { caller, app } = await startWorld();
  const token = caller.agent.serviceToken({ appId: app.appId, serviceId: "journal" }, { serviceId: "shop" });
  expect(await outcomeOf(token)).toBe("TENANT_UNKNOWN");
});

test("an operational service is called at the URL that the backbone gives it", async () => {
  const { registry, app, caller, tenant } = await startWorld();
  const target = { role: OperationalRole.BILLING, name: "bill-1" };
  const call = () => createClient(BillingService, caller.agent.peer(tenant, target)).reportUsage({});
  expect(await outcomeOf(call())).toBe("SERVICE_UNKNOWN");
  const operationalServices = [{ ...target, url: `http://${providers.article.domain}` }];
  const update = backboneOf(registry.clock, app, { operationalServices, expectedConfigEpoch: 1n });
  await registry.registry.updateBackbone({ statement: update });
  registry.clock.advance(11);
  // The agent there is no billing service: the token's audience is none of its tenants.
  expect(await outcomeOf(call())).toBe("TENANT_UNKNOWN");
});
