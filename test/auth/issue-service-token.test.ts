import { describe, expect, test } from "vitest";
import { ServiceTokenService } from "../../gen/omi/auth/v1/token_service_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, reasonName } from "../../src/core/refusal.ts";
import { verifyAccessToken } from "../../src/token/access-token.ts";
import { documentedReasons } from "../architecture/proto-text.ts";
import { resolvedApp } from "../contract/support/records.ts";
import { refused } from "../contract/support/refused.ts";
import { faults } from "../contract/support/tampering.ts";
import {
  announcementOf,
  backboneOf,
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestApp,
  type TestService,
  unbindOf,
} from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey, testNonce } from "../support/keys.ts";
import type { RunningRegistry } from "../support/registry.ts";
import { tokenRequestOf, tokensOf } from "./service-tokens.ts";
import {
  outcomeOf,
  type RunningProvider,
  startAnnouncedMesh,
  startProvider,
  terminateOf,
  untilHeard,
} from "./support.ts";

type World = {
  readonly registry: RunningRegistry;
  readonly provider: RunningProvider;
  readonly app: TestApp;
  readonly service: TestService;
  readonly journal: TestService;
};

async function startWorld(options: Parameters<typeof startAnnouncedMesh>[0] = {}): Promise<World> {
  const { registry, provider, app, service } = await startAnnouncedMesh(options);
  return { registry, provider, app, service, journal: await bindTestService(registry, app, "journal") };
}

function issue({ provider }: Pick<World, "provider">, statement: Statement) {
  return tokensOf(provider).issueServiceToken({ statement });
}

describe("IssueServiceToken", () => {
  test("gives a token for another service, bound to the key that asked", async () => {
    const world = await startWorld();
    const { registry, provider, app, service } = world;
    const { accessToken, expiresAt } = await issue(world, tokenRequestOf(provider, service));
    const { context } = await resolvedApp(registry, app.appId);
    const now = registry.clock.seconds();
    const claims = await verifyAccessToken(accessToken, {
      keys: present(context).authKeys,
      issuer: present(context).authProviderUrl,
      audience: `${app.appId}/journal`,
      use: "service",
      now,
    });
    expect(claims).toMatchObject({
      sub: `service:${service.serviceId}`,
      client_id: `service:${service.serviceId}`,
      app_id: app.appId,
      cnf: { jkt: service.key.keyId },
    });
    expect(claims.sid).toBeUndefined();
    expect(expiresAt).toBe(BigInt(claims.exp));
    expect(claims.exp - now).toBeLessThanOrEqual(900);
  });

  test("gives a token for an operational service of the backbone", async () => {
    const world = await startWorld();
    const { registry, provider, app, service } = world;
    const update = backboneOf(registry.clock, app, { expectedConfigEpoch: 1n });
    await registry.registry.updateBackbone({ statement: update });
    const target = { targetRole: OperationalRole.BILLING, targetName: "bill-1" };
    const { accessToken } = await issue(world, tokenRequestOf(provider, service, target));
    const payload = JSON.parse(Buffer.from(present(accessToken.split(".")[1]), "base64url").toString());
    expect(payload.aud).toBe(`${app.appId}/backbone.billing.bill-1`);
  });

  test("the token names the app's Auth Provider's own record as any other", async () => {
    const world = await startWorld();
    expect(
      await outcomeOf(issue(world, tokenRequestOf(world.provider, world.service, { targetServiceId: "auth" }))),
    ).toBe("ok");
  });

  test("takes a key in grace, and the new one at once", async () => {
    const world = await startWorld();
    const { registry, provider, service } = world;
    await issue(world, tokenRequestOf(provider, service));
    registry.clock.advance(2);
    const rotated = await rotateTestService(registry, service);
    await issue(world, tokenRequestOf(provider, rotated));
    await issue(world, tokenRequestOf(provider, service));
  });

  const ofTheServer = [
    // The tests of the server and of the write queue have them.
    Reason.RATE_LIMITED,
    Reason.OVERLOADED,
    Reason.SHUTTING_DOWN,
    Reason.DEADLINE_EXCEEDED,
    Reason.INTERNAL,
  ];

  type Case = {
    name: string;
    reason: Reason;
    field?: string;
    arrange?: (world: World) => Promise<unknown>;
    statement: (world: World) => Statement | Promise<Statement>;
  };

  const request = (
    { provider, service }: World,
    ...more: Parameters<typeof tokenRequestOf> extends [unknown, unknown, ...infer Rest] ? Rest : never
  ) => tokenRequestOf(provider, service, ...more);

  const cases: Case[] = [
    ...Object.entries(faults).map(([name, [reason, tamper]]) => ({
      name,
      reason,
      statement: (world: World) => tamper(request(world), world.service.key),
    })),
    {
      name: "data of more than 64 KiB",
      reason: Reason.TOO_LARGE,
      field: "statement",
      statement: (world) => ({ ...request(world), data: new Uint8Array(65_537) }),
    },
    {
      name: "a timestamp of 301 s ago",
      reason: Reason.TIMESTAMP_TOO_OLD,
      field: "header.timestamp",
      statement: (world) => request(world, {}, { header: { timestamp: BigInt(world.provider.clock.seconds() - 301) } }),
    },
    {
      name: "a timestamp in 301 s",
      reason: Reason.TIMESTAMP_IN_FUTURE,
      field: "header.timestamp",
      statement: (world) => request(world, {}, { header: { timestamp: BigInt(world.provider.clock.seconds() + 301) } }),
    },
    {
      name: "no target",
      reason: Reason.FIELD_INVALID,
      field: "target_service_id",
      statement: (world) => request(world, { targetServiceId: "" }),
    },
    {
      name: "two targets",
      reason: Reason.FIELD_INVALID,
      field: "target_service_id",
      statement: (world) =>
        request(world, { targetServiceId: "journal", targetRole: OperationalRole.BILLING, targetName: "bill-1" }),
    },
    {
      name: "an operational service without name",
      reason: Reason.FIELD_INVALID,
      field: "target_name",
      statement: (world) => request(world, { targetRole: OperationalRole.BILLING }),
    },
    {
      name: "the same bytes again",
      reason: Reason.NONCE_REUSED,
      field: "header.nonce",
      async statement(world) {
        const statement = request(world);
        await issue(world, statement);
        return statement;
      },
    },
    {
      name: "the same nonce with other bytes",
      reason: Reason.NONCE_REUSED,
      field: "header.nonce",
      async statement(world) {
        const nonce = testNonce();
        await issue(world, request(world, {}, { header: { nonce } }));
        return request(world, { targetServiceId: "auth" }, { header: { nonce } });
      },
    },
    {
      name: "the key of another service",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      statement: (world) => request(world, {}, { signer: world.journal.key }),
    },
    {
      name: "the Master key",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      statement: (world) => request(world, {}, { signer: world.app.master }),
    },
    {
      name: "another app of another tenant, by its own service",
      reason: Reason.TENANT_UNKNOWN,
      async statement(world) {
        const other = await registerTestApp(world.registry);
        const service = await bindTestService(world.registry, other);
        return tokenRequestOf(world.provider, service);
      },
    },
    {
      name: "a terminated tenant",
      reason: Reason.TENANT_TERMINATED,
      arrange: ({ provider, app }) => provider.tenancy.terminateService({ statement: terminateOf(provider, app) }),
      statement: (world) => request(world),
    },
    {
      name: "an app whose Auth Provider is another one",
      reason: Reason.AUTH_MISSING,
      arrange: ({ registry, app }) =>
        registry.registry.announceAuth({
          statement: announcementOf(registry.clock, app, {
            announcement: { expectedConfigEpoch: 1n },
            authKey: testKey(`elsewhere ${app.appId}`),
            serviceKey: testKey(`elsewhere service ${app.appId}`),
          }),
        }),
      statement: (world) => request(world),
    },
    {
      name: "a service that the app doesn't have",
      reason: Reason.SERVICE_UNKNOWN,
      statement: (world) => request(world, { serviceId: "nobody" }),
    },
    {
      name: "a target that the app doesn't have",
      reason: Reason.SERVICE_UNKNOWN,
      statement: (world) => request(world, { targetServiceId: "nobody" }),
    },
    {
      name: "an operational service that the backbone doesn't name",
      reason: Reason.SERVICE_UNKNOWN,
      statement: (world) => request(world, { targetRole: OperationalRole.BILLING, targetName: "bill-1" }),
    },
    {
      name: "a suspended service",
      reason: Reason.SERVICE_SUSPENDED,
      arrange: ({ registry, service }) =>
        registry.registry.suspendService({ statement: suspendOf(registry.clock, service) }),
      statement: (world) => request(world),
    },
    {
      name: "a suspended target",
      reason: Reason.SERVICE_SUSPENDED,
      arrange: ({ registry, journal }) =>
        registry.registry.suspendService({ statement: suspendOf(registry.clock, journal) }),
      statement: (world) => request(world),
    },
    {
      name: "an unbound service",
      reason: Reason.SERVICE_REVOKED,
      arrange: ({ registry, service }) =>
        registry.registry.unbindService({ statement: unbindOf(registry.clock, service) }),
      statement: (world) => request(world),
    },
    {
      name: "an unbound target",
      reason: Reason.SERVICE_REVOKED,
      arrange: ({ registry, journal }) =>
        registry.registry.unbindService({ statement: unbindOf(registry.clock, journal) }),
      statement: (world) => request(world),
    },
    {
      name: "a key whose grace has ended since the registry was asked",
      reason: Reason.KEY_NOT_CURRENT,
      field: "header.signer",
      async arrange(world) {
        await rotateTestService(world.registry, world.service, { gracePeriodSeconds: 1 });
        // Once the provider has heard of the rotation, nothing makes it ask again before the grace ends.
        await untilHeard(world.provider, world.app);
        await issue(world, request(world));
        world.registry.clock.advance(2);
      },
      statement: (world) => request(world),
    },
    {
      name: "a key that was replaced long ago",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      async arrange(world) {
        await rotateTestService(world.registry, world.service, { immediate: true });
      },
      statement: (world) => request(world),
    },
    {
      name: "an app that the registry can't be asked about",
      reason: Reason.REGISTRY_UNAVAILABLE,
      arrange: ({ registry }) => registry.stop(),
      statement: (world) => request(world),
    },
    {
      name: "an app that the registry can't be asked about any more",
      reason: Reason.VIEW_STALE,
      async arrange(world) {
        await issue(world, request(world));
        await world.registry.stop();
        world.registry.clock.advance(11);
      },
      statement: (world) => request(world),
    },
  ];

  test.each(cases)("refuses $name", async ({ reason, field, arrange, statement }) => {
    const world = await startWorld();
    await arrange?.(world);
    const refusal = await refused(issue(world, await statement(world)), reason);
    if (field !== undefined) expect(refusal.metadata.field).toBe(field);
    // What was refused has spent nothing and ended nothing.
    if (arrange === undefined) expect(await outcomeOf(issue(world, request(world)))).toBe("ok");
  });

  test("every documented Reason has a case", () => {
    const names = (reasons: Iterable<Reason>) => [...new Set([...reasons].map(reasonName))].sort();
    expect(names([...ofTheServer, ...cases.map(({ reason }) => reason)])).toEqual(
      names(documentedReasons(ServiceTokenService.method.issueServiceToken)),
    );
  });

  test("what could not be granted for the moment may come again", async () => {
    const world = await startWorld();
    const { provider, service, registry, app } = world;
    const target = { targetRole: OperationalRole.BILLING, targetName: "bill-1" };
    const statement = tokenRequestOf(provider, service, target);
    expect(await outcomeOf(issue(world, statement))).toBe("SERVICE_UNKNOWN");
    const update = backboneOf(registry.clock, app, { expectedConfigEpoch: 1n });
    await registry.registry.updateBackbone({ statement: update });
    registry.clock.advance(2);
    expect(await outcomeOf(issue(world, statement))).toBe("ok");
    expect(await outcomeOf(issue(world, statement))).toBe("NONCE_REUSED header.nonce");
  });

  test("a spent nonce stays spent over a restart, and over a crash after the commit", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    let crash = true;
    const world = await startWorld({
      databaseFile,
      failpoint(name) {
        if (name === "service-token.after-commit" && crash) throw new Error("crash");
      },
    });
    const statement = tokenRequestOf(world.provider, world.service);
    expect(await outcomeOf(issue(world, statement))).toBe("INTERNAL");
    crash = false;
    await world.provider.stop();
    const provider = await startProvider(world.registry, { databaseFile });
    expect(await outcomeOf(issue({ provider }, statement))).toBe("NONCE_REUSED header.nonce");
    expect(await outcomeOf(issue({ provider }, tokenRequestOf(provider, world.service)))).toBe("ok");
  });

  test("many at once with the same bytes get one token", async () => {
    const world = await startWorld();
    const statement = tokenRequestOf(world.provider, world.service);
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => outcomeOf(issue(world, statement))));
    expect(outcomes.filter((outcome) => outcome === "ok")).toHaveLength(1);
    expect(new Set(outcomes)).toEqual(new Set(["ok", "NONCE_REUSED header.nonce"]));
  });
});
