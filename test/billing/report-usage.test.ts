import { describe, expect, test, vi } from "vitest";
import { AccountStatus, BillingService } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { Access } from "../../gen/omi/options/v1/options_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { Reason, reasonName } from "../../src/core/refusal.ts";
import { documentedReasons, reasonsOfAccess } from "../architecture/proto-text.ts";
import { outcomeOf } from "../auth/support.ts";
import { refused } from "../contract/support/refused.ts";
import { backboneOf, bindTestService, rotateTestService, suspendOf, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes, testKey } from "../support/keys.ts";
import {
  type BillingWorld,
  newApp,
  type ReportFields,
  readBill,
  report,
  startBilling,
  startWorld,
  tokenOf,
  totalsOf,
} from "./support.ts";

const closed = (world: BillingWorld) =>
  vi.waitFor(async () => expect((await readBill(world, world.service)).status).toBe(AccountStatus.CLOSED));

test("the first report opens the account; reports add up by meter", async () => {
  const world = await startWorld();
  const { registry, service, app } = world;
  const begin = BigInt(registry.clock.seconds());
  expect((await report(world, service)).repeatedReport).toBe(false);
  registry.clock.advance(60);
  await report(world, service, {
    lines: [
      { meter: "articles_stored", amount: 2n },
      { meter: "bytes-sent", amount: 1_000_000_000_000n },
    ],
  });
  const bill = await readBill(world, service);
  expect(bill).toMatchObject({
    appId: app.appId,
    serviceId: service.serviceId,
    status: AccountStatus.OPEN,
    reports: 2n,
    openedAt: begin,
    closedAt: 0n,
  });
  expect(totalsOf(bill)).toEqual({ articles_stored: 3, "bytes-sent": 1_000_000_000_000 });
});

test("accounts of services and apps are apart", async () => {
  const world = await startWorld();
  const { registry, app, service } = world;
  const other = await bindTestService(registry, app, "journal");
  const stranger = await bindTestService(registry, await newApp(registry), service.serviceId);
  const reportId = testBytes(16);
  for (const [each, amount] of [
    [service, 1n],
    [other, 10n],
    [stranger, 100n],
  ] as const) {
    await report(world, each, { reportId, lines: [{ meter: "articles_stored", amount }] });
  }
  expect(totalsOf(await readBill(world, service))).toEqual({ articles_stored: 1 });
  expect(totalsOf(await readBill(world, other))).toEqual({ articles_stored: 10 });
  expect(totalsOf(await readBill(world, stranger))).toEqual({ articles_stored: 100 });
});

test("a report counts once, however often and however much at once it comes, also over a restart", async () => {
  const databaseFile = `${temporaryFolder()}/billing.db`;
  const world = await startWorld({ databaseFile });
  const lines = [
    { meter: "bytes_sent", amount: 5n },
    { meter: "articles_stored", amount: 1n },
  ];
  const same = { reportId: testBytes(16), lines };
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => report(world, world.service, same)));
  expect(outcomes.filter(({ repeatedReport }) => !repeatedReport)).toHaveLength(1);
  await world.running.stop();
  const running = await startBilling(world.registry, { databaseFile });
  const again = { ...world, running };
  expect((await report(again, world.service, { ...same, lines: lines.toReversed() })).repeatedReport).toBe(true);
  const bill = await readBill(again, world.service);
  expect(totalsOf(bill)).toEqual({ articles_stored: 1, bytes_sent: 5 });
  expect(bill.reports).toBe(1n);
});

test.each([
  ["before", { repeatedReport: false }],
  ["after", { repeatedReport: true }],
])("a crash %s the commit of a report: sent again, it counts once", async (side, outcome) => {
  const databaseFile = `${temporaryFolder()}/billing.db`;
  const failpoint = (name: string) => {
    if (name === `usage.report.${side}-commit`) throw new Error("crash");
  };
  const world = await startWorld({ databaseFile, failpoint });
  const same = { reportId: testBytes(16) };
  await refused(report(world, world.service, same), Reason.INTERNAL);
  await world.running.stop();
  const again = { ...world, running: await startBilling(world.registry, { databaseFile }) };
  expect(await report(again, world.service, same)).toMatchObject(outcome);
  expect(totalsOf(await readBill(again, world.service))).toEqual({ articles_stored: 1 });
});

test("the token may be for whatever the backbone names this provider", async () => {
  const world = await startWorld();
  const { registry, app, service } = world;
  const operationalServices = [
    { role: OperationalRole.BILLING, name: "elsewhere", url: "http://other-billing.test" },
    { role: OperationalRole.METRICS, name: "metrics", url: "http://billing.test" },
    { role: OperationalRole.BILLING, name: "second", url: "http://billing.test/" },
  ];
  const update = backboneOf(registry.clock, app, { operationalServices, expectedConfigEpoch: 2n });
  await registry.registry.updateBackbone({ statement: update });
  const withAudience = (audience: string) =>
    outcomeOf(report(world, service, {}, tokenOf(registry, service, { aud: `${app.appId}/${audience}` })));
  expect(await withAudience("backbone.billing.second")).toBe("ok");
  for (const other of ["billing.elsewhere", "metrics.metrics", "billing.metrics", "billing.bill-1"]) {
    expect(await withAudience(`backbone.${other}`)).toBe("TOKEN_INVALID aud");
  }
});

test("a token of a key in grace counts, until the grace is over", async () => {
  const world = await startWorld();
  const { registry, service } = world;
  const token = tokenOf(registry, service);
  const rotated = await rotateTestService(registry, service, { gracePeriodSeconds: 30 });
  expect(await outcomeOf(report(world, service, {}, token))).toBe("ok");
  expect(await outcomeOf(report(world, rotated))).toBe("ok");
  registry.clock.advance(31);
  expect(await outcomeOf(report(world, service, {}, token))).toBe("TOKEN_REVOKED");
});

describe("refuses", () => {
  type Case = {
    name: string;
    reason: Reason;
    /** The `field` or `rule` of the refusal's metadata. */
    detail?: string;
    arrange?: (world: BillingWorld) => Promise<unknown>;
    fields?: ReportFields;
    token?: (world: BillingWorld) => string | Promise<string>;
    /** False if the service can't report any more afterwards. */
    goesOn?: boolean;
  };

  const manyMeters = Array.from({ length: 32 }, (_, index) => index);

  const cases: Case[] = [
    { name: "no token", reason: Reason.TOKEN_MISSING, token: () => "" },
    {
      name: "a user's token",
      reason: Reason.TOKEN_INVALID,
      detail: "token_use",
      token: ({ registry, service }) => {
        const { key } = service;
        return tokenOf(registry, service, { token_use: "user", sub: "user:alice", cnf: { jkt: key.keyId } });
      },
    },
    {
      name: "a token for another service of the app",
      reason: Reason.TOKEN_INVALID,
      detail: "aud",
      token: ({ registry, service, app }) => tokenOf(registry, service, { aud: `${app.appId}/journal` }),
    },
    {
      name: "a token of another app's Auth Provider",
      reason: Reason.TOKEN_INVALID,
      detail: "kid",
      token: ({ registry, service }) => tokenOf(registry, service, {}, testKey("elsewhere")),
    },
    {
      name: "a token for another app",
      reason: Reason.TOKEN_INVALID,
      detail: "aud",
      async token({ registry }) {
        const service = await bindTestService(registry, await newApp(registry));
        return tokenOf(registry, service);
      },
    },
    {
      name: "a token that has expired",
      reason: Reason.TOKEN_EXPIRED,
      token: ({ registry, service }) => {
        const now = registry.clock.seconds();
        return tokenOf(registry, service, { iat: now - 300, exp: now });
      },
    },
    {
      name: "a token that is bound to a key of nobody",
      reason: Reason.TOKEN_REVOKED,
      token: ({ registry, service }) => tokenOf(registry, service, { cnf: { jkt: testKey("nobody").keyId } }),
    },
    {
      name: "a token of a service that the app doesn't have",
      reason: Reason.TOKEN_REVOKED,
      token: ({ registry, service }) => tokenOf(registry, service, { sub: "service:nobody" }),
    },
    {
      name: "a suspended service",
      reason: Reason.TOKEN_REVOKED,
      arrange: ({ registry, service }) =>
        registry.registry.suspendService({ statement: suspendOf(registry.clock, service) }),
      goesOn: false,
    },
    {
      name: "a service whose key was rotated without grace",
      reason: Reason.TOKEN_REVOKED,
      arrange: ({ registry, service }) => rotateTestService(registry, service, { immediate: true }),
      goesOn: false,
    },
    {
      name: "an app that the registry doesn't know",
      reason: Reason.TENANT_UNKNOWN,
      fields: { appId: "test.omi-registry.nobody.shop.abcdef" },
    },
    {
      name: "an app that can't be asked about",
      reason: Reason.VIEW_STALE,
      arrange: ({ registry }) => registry.stop(),
      goesOn: false,
    },
    {
      name: "a report in another service's name",
      reason: Reason.FIELD_MISMATCH,
      detail: "service_id",
      fields: { serviceId: "journal" },
    },
    {
      name: "a known report ID with other lines",
      reason: Reason.FIELD_MISMATCH,
      detail: "lines",
      arrange: (world) => report(world, world.service, { reportId: new Uint8Array(16).fill(7) }),
      fields: { reportId: new Uint8Array(16).fill(7), lines: [{ meter: "articles_stored", amount: 2n }] },
    },
    { name: "no lines", reason: Reason.FIELD_INVALID, detail: "lines", fields: { lines: [] } },
    {
      name: "33 lines",
      reason: Reason.FIELD_INVALID,
      detail: "lines",
      fields: { lines: [...manyMeters, 32].map((index) => ({ meter: `meter-${index}`, amount: 1n })) },
    },
    {
      name: "an amount of nothing",
      reason: Reason.FIELD_INVALID,
      detail: "lines[0].amount",
      fields: { lines: [{ meter: "articles_stored", amount: 0n }] },
    },
    {
      name: "more than 10^12",
      reason: Reason.FIELD_INVALID,
      detail: "lines[0].amount",
      fields: { lines: [{ meter: "articles_stored", amount: 1_000_000_000_001n }] },
    },
    {
      name: "a meter twice",
      reason: Reason.FIELD_INVALID,
      detail: "lines[1].meter",
      fields: {
        lines: [
          { meter: "articles_stored", amount: 1n },
          { meter: "articles_stored", amount: 2n },
        ],
      },
    },
    {
      name: "more than 256 meters in an account",
      reason: Reason.FIELD_INVALID,
      detail: "lines[1].meter",
      async arrange(world) {
        for (let part = 0; part < 8; part++) {
          const lines = manyMeters.map((index) => ({ meter: `meter-${part}-${index}`, amount: 1n }));
          await report(world, world.service, { lines: part === 7 ? lines.slice(1) : lines });
        }
      },
      fields: {
        lines: [
          { meter: "one-more", amount: 1n },
          { meter: "two-more", amount: 1n },
        ],
      },
    },
    {
      name: "a report ID of 15 bytes",
      reason: Reason.FIELD_INVALID,
      detail: "report_id",
      fields: { reportId: new Uint8Array(15).fill(1) },
    },
  ];

  test.each(cases)("$name", async ({ reason, detail, arrange, fields, token, goesOn = true }) => {
    const world = await startWorld();
    await arrange?.(world);
    const { metadata } = await refused(report(world, world.service, fields, await token?.(world)), reason);
    if (detail !== undefined) expect([metadata.field, metadata.rule]).toContain(detail);
    const next = { lines: [{ meter: "meter-0-1", amount: 1n }] };
    if (goesOn) expect(await outcomeOf(report(world, world.service, next))).toBe("ok");
  });

  test("every Reason that the contract adds has a case", () => {
    // Those of the server and of the write queue; those of a tenant's own service, which Billing has none of; and of accounts
    // that were closed, below.
    const elsewhere = [
      Reason.RATE_LIMITED,
      Reason.OVERLOADED,
      Reason.SHUTTING_DOWN,
      Reason.DEADLINE_EXCEEDED,
      Reason.INTERNAL,
      Reason.MALFORMED,
      Reason.TOO_LARGE,
      Reason.SERVICE_SUSPENDED,
      Reason.SERVICE_REVOKED,
      Reason.ACCOUNT_CLOSED,
    ];
    const names = (reasons: Iterable<Reason>) => [...new Set([...reasons].map(reasonName))].sort();
    expect(names([...elsewhere, ...cases.map(({ reason }) => reason)])).toEqual(
      names([...documentedReasons(BillingService.method.reportUsage), ...reasonsOfAccess(Access.USER_TOKEN)]),
    );
  });
});

describe("when a service is unbound", () => {
  test("its account is closed at the time of the unbinding, with a final bill", async () => {
    const world = await startWorld();
    const { registry, service } = world;
    const known = { reportId: testBytes(16) };
    await report(world, service, known);
    registry.clock.advance(3);
    const token = tokenOf(registry, service);
    const end = BigInt(registry.clock.seconds());
    await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
    await closed(world);
    const bill = await readBill(world, service);
    expect(bill.closedAt).toBe(end);
    expect(totalsOf(bill)).toEqual({ articles_stored: 1 });
    // Its token ended with it.
    expect(await outcomeOf(report(world, service, {}, token))).toBe("TOKEN_REVOKED");
    expect(await readBill(world, service)).toEqual({ ...bill, header: expect.anything() });
  });

  test("while Billing was away, it is closed when it is back", async () => {
    const databaseFile = `${temporaryFolder()}/billing.db`;
    const world = await startWorld({ databaseFile });
    const { registry, service } = world;
    await report(world, service);
    await world.running.stop();
    await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
    await closed({ ...world, running: await startBilling(registry, { databaseFile }) });
  });

  test("the accounts of the app's other services stay open, and that of a suspended one", async () => {
    const world = await startWorld();
    const { registry, app, service } = world;
    const other = await bindTestService(registry, app, "journal");
    const suspended = await bindTestService(registry, app, "shop");
    for (const each of [service, other, suspended]) await report(world, each);
    await registry.registry.suspendService({ statement: suspendOf(registry.clock, suspended) });
    await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
    await closed(world);
    expect((await readBill(world, other)).status).toBe(AccountStatus.OPEN);
    expect((await readBill(world, suspended)).status).toBe(AccountStatus.OPEN);
    await report(world, other);
  });

  test("Billing tells how far it has come", async () => {
    const world = await startWorld();
    const { registry, app, service, running } = world;
    await report(world, service);
    await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
    await closed(world);
    // Registered, announced, backbone, bound, unbound.
    expect(await running.subscriptions.getSubscription({ appId: app.appId })).toMatchObject({ appliedSequence: 5n });
  });
});
