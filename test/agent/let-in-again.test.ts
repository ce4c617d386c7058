import { describe, expect, onTestFinished, test, vi } from "vitest";
import { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { Authentication, type Caller } from "../../src/agent/authentication.ts";
import { Contexts } from "../../src/agent/contexts.ts";
import { agentMigrations } from "../../src/agent/migration.ts";
import { createViews } from "../../src/directory/views.ts";
import { openDatabase } from "../../src/store/database.ts";
import { Standings } from "../../src/tenancy/standings.ts";
import { Tenants } from "../../src/tenancy/tenants.ts";
import { outcomeOf } from "../auth/support.ts";
import { announcementOf, backboneOf, present, registerTestApp, suspendOf, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { terminateOf, wayTo } from "../tenancy/support.ts";
import { type ProvisionedMesh, provisionFor, startProvisioned, tokenFor } from "./provisioned.ts";
import { signIn, startSessionWorld } from "./session-world.ts";

type Authenticates = { readonly authenticate: (token: string) => Promise<Caller> };

/** Lets a user in until that is concluded from what was concluded before: then it is the same object. */
async function letInAgain(agent: Authenticates, token: string): Promise<Caller> {
  return vi.waitFor(async () => {
    const caller = await agent.authenticate(token);
    expect(await agent.authenticate(token)).toBe(caller);
    return caller;
  });
}

/** An agent that listens to its tenants' events, so that its views hold for as long as heads confirm them. */
async function startListening(): Promise<ProvisionedMesh> {
  const mesh = await startProvisioned();
  await mesh.running.agent.start();
  return mesh;
}

test("who is let in again is the same caller, whom no handler can change", async () => {
  const { registry, running, service } = await startProvisioned();
  const caller = await letInAgain(running.agent, tokenFor(registry, service));
  for (const part of [caller, caller.tenant, caller.claims]) expect(Object.isFrozen(part)).toBe(true);
});

test("a token that was let in ends with its last second", async () => {
  const { registry, running, service } = await startProvisioned();
  const token = tokenFor(registry, service, { exp: registry.clock.seconds() + 3 });
  const caller = await letInAgain(running.agent, token);
  registry.clock.advance(2.999);
  expect(await running.agent.authenticate(token)).toBe(caller);
  registry.clock.advance(0.001);
  expect(await outcomeOf(running.agent.authenticate(token))).toBe("TOKEN_EXPIRED");
});

test("a token that was let in is of the future when the clock is set back by more than clocks may differ", async () => {
  const { registry, running, service } = await startProvisioned();
  const token = tokenFor(registry, service, { iat: registry.clock.seconds() + 30 });
  await letInAgain(running.agent, token);
  registry.clock.advance(-1);
  expect(await outcomeOf(running.agent.authenticate(token))).toBe("TOKEN_INVALID iat");
});

test("a token that was let in ends with the grace of its key", async () => {
  const mesh = await startProvisioned();
  const { registry, running, app, service } = mesh;
  const { clock } = registry;
  await registry.registry.announceAuth({
    statement: announcementOf(clock, app, {
      authKey: testKey(`second auth ${app.appId}`),
      serviceKey: testKey(`second auth service ${app.appId}`),
      announcement: { expectedConfigEpoch: 1n },
    }),
  });
  clock.advance(11);
  await running.agent.authenticate(tokenFor(registry, service));
  await vi.waitFor(() => expect(running.contexts.at(-1)?.authKeys).toHaveLength(2));
  const end = Number(running.contexts.at(-1)?.authKeys.find(({ notAfter }) => notAfter > 0n)?.notAfter);
  clock.advance(end - 2 - clock.seconds());
  const token = tokenFor(registry, service);
  const caller = await letInAgain(running.agent, token);
  clock.advance(1.999);
  expect(await running.agent.authenticate(token)).toBe(caller);
  clock.advance(0.001);
  expect(await outcomeOf(running.agent.authenticate(token))).toBe("TOKEN_INVALID kid");
});

test("a token that was let in is refused once the view is too old and can't be renewed", async () => {
  const { registry, running, service } = await startProvisioned();
  const token = tokenFor(registry, service);
  const caller = await letInAgain(running.agent, token);
  await registry.stop();
  registry.clock.advance(4);
  expect(await running.agent.authenticate(token)).toBe(caller);
  registry.clock.advance(6);
  expect(await outcomeOf(running.agent.authenticate(token))).toBe("VIEW_STALE");
});

test("a token that was let in is refused once no head has confirmed the view for too long", async () => {
  const { registry, running, service } = await startListening();
  const token = tokenFor(registry, service);
  await letInAgain(running.agent, token);
  await registry.stop();
  registry.clock.advance(10);
  expect(await outcomeOf(running.agent.authenticate(token))).toBe("VIEW_STALE");
});

test("a tenant that is terminated serves nobody from then on, and others go on", async () => {
  const mesh = await startListening();
  const { registry, running, app, service } = mesh;
  const other = await provisionFor(registry, running, app, "cms-article-78");
  const [token, otherToken] = [tokenFor(registry, service), tokenFor(registry, other)];
  await letInAgain(running.agent, token);
  await letInAgain(running.agent, otherToken);
  await running.tenancy.terminateService({ statement: terminateOf(registry, service) });
  expect(await outcomeOf(running.agent.authenticate(token))).toBe("TENANT_UNKNOWN");
  await letInAgain(running.agent, otherToken);
});

test.each([
  ["suspended", "SERVICE_SUSPENDED"],
  ["unbound", "SERVICE_REVOKED"],
] as const)("a service that is %s serves nobody once its event is there", async (what, outcome) => {
  const { registry, running, service } = await startListening();
  const token = tokenFor(registry, service);
  await letInAgain(running.agent, token);
  if (what === "suspended") await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  else await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
  await vi.waitFor(async () => expect(await outcomeOf(running.agent.authenticate(token))).toBe(outcome), 4000);
  await registry.stop();
  expect(await outcomeOf(running.agent.authenticate(token))).toBe(outcome);
});

test("an Auth key that is replaced by another provider's serves nobody once its event is there", async () => {
  const { registry, running, app, service } = await startListening();
  const token = tokenFor(registry, service);
  await letInAgain(running.agent, token);
  const authProviderUrl = `http://auth.test/other/${app.appId}`;
  const changed = announcementOf(registry.clock, app, {
    authKey: testKey(`second auth ${app.appId}`),
    serviceKey: testKey(`second auth service ${app.appId}`),
    answer: { authProviderUrl },
    announcement: { authProviderUrl, expectedConfigEpoch: 1n },
  });
  await registry.registry.announceAuth({ statement: changed });
  await vi.waitFor(async () => {
    expect(await outcomeOf(running.agent.authenticate(token))).toMatch(/^TOKEN_INVALID (kid|iss)$/);
  }, 4000);
});

describe("with the views as they are, what was concluded ends with", () => {
  /** An authentication with tables of its own, which nothing but the test changes. */
  async function startAlone() {
    const { registry, app, service } = await startProvisioned();
    const { clock } = registry;
    const tenant = { appId: app.appId, serviceId: service.serviceId };
    const db = openDatabase(`${temporaryFolder()}/agent.db`, agentMigrations);
    onTestFinished(() => void db.close());
    const tables = { tenants: new Tenants(db), standings: new Standings(db), contexts: new Contexts(db) };
    tables.tenants.insert(tenant, "ACTIVE", clock.seconds());
    const views = createViews({ registries: wayTo(registry), clock });
    const context = present((await views.app(app.appId)).context);
    tables.contexts.put(tenant, context, clock.seconds());
    const observed: string[] = [];
    const authentication = new Authentication({
      ...{ ...tables, views, clock, sessions: undefined },
      contextFlow: {
        observe: ({ serviceId }) => void observed.push(serviceId),
        isNews: (id) => tables.contexts.isNews(id, context.configEpoch),
      },
    });
    const agent = { authenticate: async (token: string) => authentication.authenticate(token) };
    const token = tokenFor(registry, service);
    await letInAgain(agent, token);
    return { ...tables, tenant, observed, outcome: () => outcomeOf(agent.authenticate(token)) };
  }

  test("the tenant", async () => {
    const { tenants, tenant, outcome } = await startAlone();
    tenants.beginTermination(tenant, new Uint8Array(32), DataHandling.WIPE);
    expect(await outcome()).toBe("TENANT_UNKNOWN");
  });

  test("the service's standing", async () => {
    const { standings, tenant, outcome } = await startAlone();
    standings.set(tenant, ServiceStatus.SUSPENDED, 9n);
    expect(await outcome()).toBe("SERVICE_SUSPENDED");
    standings.set(tenant, ServiceStatus.ACTIVE, 10n);
    expect(await outcome()).toBe("ok");
    standings.set(tenant, ServiceStatus.REVOKED, 11n);
    expect(await outcome()).toBe("SERVICE_REVOKED");
  });

  test("what the tenant knows of its app, which is then news with each call", async () => {
    const { contexts, tenant, observed, outcome } = await startAlone();
    observed.length = 0;
    await outcome();
    expect(observed).toEqual([]);
    contexts.rewind(tenant.appId);
    for (let call = 0; call < 3; call++) await outcome();
    expect(observed).toHaveLength(3);
  });
});

test("a change of the app is learned although its callers were let in before", async () => {
  const { registry, running, app, service } = await startProvisioned();
  const token = tokenFor(registry, service);
  const before = await letInAgain(running.agent, token);
  await registry.registry.updateBackbone({
    statement: backboneOf(registry.clock, app, { expectedConfigEpoch: 1n }),
  });
  registry.clock.advance(11);
  expect(await running.agent.authenticate(token)).not.toBe(before);
  await vi.waitFor(() => expect(running.told).toContain(`context ${service.serviceId} 2`));
  await letInAgain(running.agent, token);
});

test("a change of another app ends nothing that was concluded", async () => {
  const { registry, running, service } = await startProvisioned();
  const token = tokenFor(registry, service);
  const caller = await letInAgain(running.agent, token);
  const other = await registerTestApp(registry);
  await registry.registry.updateBackbone({ statement: backboneOf(registry.clock, other) });
  expect(await running.agent.authenticate(token)).toBe(caller);
});

test("a session that ends is ended for who was let in, and for nobody else", async () => {
  const world = await startSessionWorld();
  const { agent } = world.article;
  const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
  await letInAgain(agent, alice.accessToken);
  const caller = await letInAgain(agent, bob.accessToken);
  await alice.signOut();
  await vi.waitFor(async () => expect(await outcomeOf(agent.authenticate(alice.accessToken))).toBe("TOKEN_REVOKED"));
  expect(await agent.authenticate(bob.accessToken)).toBe(caller);
  await bob.signOut();
  await vi.waitFor(async () => expect(await outcomeOf(agent.authenticate(bob.accessToken))).toBe("TOKEN_REVOKED"));
});
