import { expect, test } from "vitest";
import { isRefusal, Reason, reasonName } from "../../src/core/refusal.ts";
import { announcementOf, registerTestApp, suspendOf, unbindOf } from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { terminateOf } from "../tenancy/support.ts";
import { type ProvisionedMesh, provisionFor, startProvisioned, tokenFor } from "./provisioned.ts";
import { provision, serviceOrder } from "./support.ts";

/** `ok`, or the Reason and the rule of the refusal. */
async function outcomeOf({ running }: ProvisionedMesh, credentials: string | Headers): Promise<string> {
  try {
    await running.agent.authenticate(credentials);
    return "ok";
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return [reasonName(error.reason), error.metadata.rule].filter((part) => part !== undefined).join(" ");
  }
}

test("a token tells the tenant and the user", async () => {
  const { registry, running, app, service } = await startProvisioned();
  const token = tokenFor(registry, service);
  const caller = await running.agent.authenticate(token);
  expect(caller.tenant).toEqual({ appId: app.appId, serviceId: service.serviceId });
  expect(caller.claims).toMatchObject({ sub: "user:alice", aud: `${app.appId}/${service.serviceId}` });
  expect(await running.agent.authenticate(new Headers({ authorization: `bearer  ${token}` }))).toEqual(caller);
});

type Case = {
  name: string;
  credentials: (mesh: ProvisionedMesh) => string | Headers | Promise<string | Headers>;
  outcome: string;
};

const cases: Case[] = [
  { name: "no authorization", credentials: () => new Headers(), outcome: "TOKEN_MISSING" },
  {
    name: "another scheme",
    credentials: ({ registry, service }) => new Headers({ authorization: `Basic ${tokenFor(registry, service)}` }),
    outcome: "TOKEN_MISSING",
  },
  { name: "no token", credentials: () => new Headers({ authorization: "Bearer " }), outcome: "TOKEN_MISSING" },
  { name: "no space", credentials: () => new Headers({ authorization: "Bearer" }), outcome: "TOKEN_MISSING" },
  { name: "not a token", credentials: () => "one.two", outcome: "TOKEN_INVALID form" },
  {
    name: "another space behind it than a plain one",
    credentials: ({ registry, service }) =>
      new Headers({ authorization: `Bearer ${tokenFor(registry, service)}\u00a0` }),
    outcome: "TOKEN_INVALID form",
  },
  {
    name: "two words",
    credentials: () => new Headers({ authorization: "Bearer one two" }),
    outcome: "TOKEN_INVALID form",
  },
  {
    name: "of a key that is not the app's",
    credentials: ({ registry, service }) => tokenFor(registry, service, {}, testKey("stranger")),
    outcome: "TOKEN_INVALID kid",
  },
  {
    name: "with the signature of another token",
    credentials({ registry, service }) {
      const [header, payload] = tokenFor(registry, service).split(".");
      return `${header}.${payload}.${tokenFor(registry, service, { jti: "token-2" }).split(".")[2]}`;
    },
    outcome: "TOKEN_INVALID signature",
  },
  {
    name: "of another issuer",
    credentials: ({ registry, service }) => tokenFor(registry, service, { iss: "http://auth.test" }),
    outcome: "TOKEN_INVALID iss",
  },
  {
    name: "for services",
    credentials: ({ registry, service }) =>
      tokenFor(registry, service, {
        token_use: "service",
        sub: "service:crm-1",
        cnf: { jkt: testKey("crm").keyId },
      }),
    outcome: "TOKEN_INVALID token_use",
  },
  {
    name: "bound to a key",
    credentials: ({ registry, service }) => tokenFor(registry, service, { cnf: { jkt: testKey("a browser").keyId } }),
    outcome: "TOKEN_INVALID cnf",
  },
  {
    name: "expired",
    credentials({ registry, service }) {
      const token = tokenFor(registry, service);
      registry.clock.advance(300);
      return token;
    },
    outcome: "TOKEN_EXPIRED",
  },
  {
    name: "for a service that is no tenant",
    credentials: ({ registry, service }) => tokenFor(registry, { ...service, serviceId: "another-one" }),
    outcome: "TENANT_UNKNOWN",
  },
  {
    name: "for a tenant, by the Auth key of another app",
    async credentials({ registry, service }) {
      const other = await registerTestApp(registry);
      await registry.registry.announceAuth({ statement: announcementOf(registry.clock, other) });
      return tokenFor(registry, service, {}, testKey(`auth ${other.appId}`));
    },
    outcome: "TOKEN_INVALID kid",
  },
  {
    name: "for a terminated tenant",
    async credentials({ registry, running, service }) {
      await running.tenancy.terminateService({ statement: terminateOf(registry, service) });
      return tokenFor(registry, service);
    },
    outcome: "TENANT_UNKNOWN",
  },
  {
    name: "for a suspended service",
    async credentials({ registry, service }) {
      await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
      return tokenFor(registry, service);
    },
    outcome: "SERVICE_SUSPENDED",
  },
  {
    name: "for an unbound service",
    async credentials({ registry, service }) {
      await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
      return tokenFor(registry, service);
    },
    outcome: "SERVICE_REVOKED",
  },
  {
    name: "when the registry can't be asked",
    async credentials({ registry, service }) {
      const token = tokenFor(registry, service);
      await registry.stop();
      return token;
    },
    outcome: "VIEW_STALE",
  },
];

test.each(cases)("a token $name: $outcome", async ({ credentials, outcome }) => {
  const mesh = await startProvisioned();
  expect(await outcomeOf(mesh, await credentials(mesh))).toBe(outcome);
});

test("a token of an app without Auth Provider is never right", async () => {
  const mesh = await startProvisioned();
  const app = await registerTestApp(mesh.registry);
  const service = await provisionFor(mesh.registry, mesh.running, app, "cms-article-78");
  expect(await outcomeOf(mesh, tokenFor(mesh.registry, service))).toBe("TOKEN_INVALID kid");
});

test("what was let in before is refused once the registry says otherwise, at the latest when the view is too old", async () => {
  const mesh = await startProvisioned();
  const { registry, service } = mesh;
  const token = tokenFor(registry, service);
  expect(await outcomeOf(mesh, token)).toBe("ok");
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  registry.clock.advance(11);
  expect(await outcomeOf(mesh, token)).toBe("SERVICE_SUSPENDED");
});

test("without the registry, users are let in for as long as the view may be old, and no longer", async () => {
  const mesh = await startProvisioned();
  const { registry, service } = mesh;
  const token = tokenFor(registry, service);
  expect(await outcomeOf(mesh, token)).toBe("ok");
  await registry.stop();
  registry.clock.advance(4);
  expect(await outcomeOf(mesh, token)).toBe("ok");
  registry.clock.advance(7);
  const { agent } = mesh.running;
  await expect(agent.authenticate(token)).rejects.toMatchObject({
    reason: Reason.VIEW_STALE,
    metadata: { age_seconds: expect.stringMatching(/^\d+$/) },
  });
});

/** Announces a new Auth key of the same provider, which leaves the old one in grace. */
async function announceNewKey({ registry, app }: ProvisionedMesh): Promise<void> {
  const statement = announcementOf(registry.clock, app, {
    authKey: testKey(`second auth ${app.appId}`),
    serviceKey: testKey(`second auth service ${app.appId}`),
    announcement: { expectedConfigEpoch: 1n },
  });
  await registry.registry.announceAuth({ statement });
}

test("a key that was announced a moment ago is learned by its first token", async () => {
  const mesh = await startProvisioned();
  const { registry, app, service } = mesh;
  expect(await outcomeOf(mesh, tokenFor(registry, service))).toBe("ok");
  await announceNewKey(mesh);
  registry.clock.advance(2);
  expect(await outcomeOf(mesh, tokenFor(registry, service, {}, testKey(`second auth ${app.appId}`)))).toBe("ok");
});

test("unknown keys cost one read a second, however many tokens come", async () => {
  const mesh = await startProvisioned();
  const { registry, app, service } = mesh;
  expect(await outcomeOf(mesh, tokenFor(registry, service, {}, testKey("stranger")))).toBe("TOKEN_INVALID kid");
  await announceNewKey(mesh);
  const token = tokenFor(registry, service, {}, testKey(`second auth ${app.appId}`));
  expect(await outcomeOf(mesh, token)).toBe("TOKEN_INVALID kid");
  registry.clock.advance(2);
  expect(await outcomeOf(mesh, token)).toBe("ok");
});

test("tokens of a replaced Auth key count until its grace ends, by our own clock", async () => {
  const mesh = await startProvisioned();
  const { registry, service } = mesh;
  await announceNewKey(mesh);
  registry.clock.advance(60);
  expect(await outcomeOf(mesh, tokenFor(registry, service))).toBe("ok");
  registry.clock.advance(100_000);
  expect(await outcomeOf(mesh, tokenFor(registry, service))).toBe("TOKEN_INVALID kid");
});

test("a restored service lets users in again", async () => {
  const mesh = await startProvisioned();
  const { registry, running, app, service } = mesh;
  registry.clock.advance(20);
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  registry.clock.advance(20);
  expect(await outcomeOf(mesh, tokenFor(registry, service))).toBe("SERVICE_SUSPENDED");
  await provision(running, serviceOrder(registry, app, { serviceId: service.serviceId }));
  registry.clock.advance(20);
  expect(await outcomeOf(mesh, tokenFor(registry, service))).toBe("ok");
});

test("a token for several services is for the first of them that is a tenant here", async () => {
  const mesh = await startProvisioned();
  const { registry, running, app, service } = mesh;
  const aud = [`${app.appId}/elsewhere`, `${app.appId}/${service.serviceId}`] as unknown as string;
  const { tenant } = await running.agent.authenticate(tokenFor(registry, service, { aud }));
  expect(tenant).toEqual({ appId: app.appId, serviceId: service.serviceId });
});
