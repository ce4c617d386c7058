import { describe, expect, test } from "vitest";
import { BillingService } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, reasonName } from "../../src/core/refusal.ts";
import { documentedReasons } from "../architecture/proto-text.ts";
import { outcomeOf } from "../auth/support.ts";
import { refused } from "../contract/support/refused.ts";
import { faults } from "../contract/support/tampering.ts";
import { present, registerTestApp } from "../support/developer.ts";
import { testKey, testNonce } from "../support/keys.ts";
import {
  type BillingWorld,
  billingProvider,
  billRequestOf,
  newApp,
  report,
  startBilling,
  startWorld,
} from "./support.ts";

type Case = {
  name: string;
  reason: Reason;
  field?: string;
  arrange?: (world: BillingWorld) => Promise<Partial<BillingWorld> | undefined>;
  statement: (world: BillingWorld) => Statement | Promise<Statement>;
};

const request = ({ registry, service }: BillingWorld, changes: Parameters<typeof billRequestOf>[2] = {}) =>
  billRequestOf(registry, service, changes);
const read = ({ running }: BillingWorld, statement: Statement) => running.client.readBill({ statement });

/** A world in which one report was made. */
async function startReported(): Promise<BillingWorld> {
  const world = await startWorld();
  await report(world, world.service);
  return world;
}

const cases: Case[] = [
  ...Object.entries(faults).map(([name, [reason, tamper]]) => ({
    name,
    reason,
    statement: (world: BillingWorld) => tamper(request(world), world.app.master),
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
    statement: (world) => request(world, { header: { timestamp: BigInt(world.registry.clock.seconds() - 301) } }),
  },
  {
    name: "a timestamp in 301 s",
    reason: Reason.TIMESTAMP_IN_FUTURE,
    field: "header.timestamp",
    statement: (world) => request(world, { header: { timestamp: BigInt(world.registry.clock.seconds() + 301) } }),
  },
  {
    name: "the same bytes after the window",
    reason: Reason.TIMESTAMP_TOO_OLD,
    field: "header.timestamp",
    async statement(world) {
      const statement = request(world);
      await read(world, statement);
      world.registry.clock.advance(301);
      return statement;
    },
  },
  {
    name: "a nonce that was used for other bytes",
    reason: Reason.NONCE_REUSED,
    field: "header.nonce",
    async statement(world) {
      const nonce = testNonce();
      await read(world, request(world, { header: { nonce } }));
      return request(world, { header: { nonce, timestamp: BigInt(world.registry.clock.seconds() - 1) } });
    },
  },
  {
    name: "another developer's Master key",
    reason: Reason.SIGNER_UNKNOWN,
    field: "header.signer",
    async statement(world) {
      const { master } = await registerTestApp(world.registry);
      return request(world, { signer: master });
    },
  },
  {
    name: "the Service key of the service itself",
    reason: Reason.SIGNER_UNKNOWN,
    field: "header.signer",
    statement: (world) => request(world, { signer: world.service.key }),
  },
  {
    name: "the app's Auth key",
    reason: Reason.SIGNER_NOT_AUTHORIZED,
    field: "header.signer",
    statement: (world) => request(world, { signer: testKey(`auth ${world.app.appId}`) }),
  },
  {
    name: "the provider's own key",
    reason: Reason.SIGNER_NOT_AUTHORIZED,
    field: "header.signer",
    statement: (world) => request(world, { signer: billingProvider.key }),
  },
  {
    name: "an app that the registry doesn't know",
    reason: Reason.APP_UNKNOWN,
    statement: (world) => request(world, { appId: world.app.appId.replace(/.{6}$/, "000000") }),
  },
  {
    name: "a service that never reported",
    reason: Reason.ACCOUNT_UNKNOWN,
    statement: (world) => request(world, { serviceId: "journal" }),
  },
  {
    name: "an app whose registry doesn't answer",
    reason: Reason.REGISTRY_UNAVAILABLE,
    async arrange({ registry }) {
      await registry.stop();
      return undefined;
    },
    statement: (world) => request(world),
  },
  {
    name: "a registry whose answers don't verify",
    reason: Reason.ANSWER_INVALID,
    async arrange({ registry }) {
      const stranger = { ...registry, key: testKey("another registry") };
      return { running: await startBilling(stranger) };
    },
    statement: (world) => request(world),
  },
];

describe("ReadBill", () => {
  test.each(cases)("refuses $name", async ({ reason, field, arrange, statement }) => {
    const world = await startReported();
    const arranged = { ...world, ...(await arrange?.(world)) };
    const refusal = await refused(read(arranged, await statement(arranged)), reason);
    if (field !== undefined) expect(refusal.metadata.field).toBe(field);
    if (arrange === undefined) expect(await outcomeOf(read(world, request(world)))).toBe("ok");
  });

  test("every documented Reason has a case", () => {
    const ofTheServer = [
      Reason.RATE_LIMITED,
      Reason.OVERLOADED,
      Reason.SHUTTING_DOWN,
      Reason.DEADLINE_EXCEEDED,
      Reason.INTERNAL,
    ];
    const names = (reasons: Iterable<Reason>) => [...new Set([...reasons].map(reasonName))].sort();
    expect(names([...ofTheServer, ...cases.map(({ reason }) => reason)])).toEqual(
      names(documentedReasons(BillingService.method.readBill)),
    );
  });

  test("the same bytes read again, and what is read is new", async () => {
    const world = await startReported();
    const statement = request(world);
    const first = await read(world, statement);
    await report(world, world.service);
    const second = await read(world, statement);
    expect(present(second.answer)).not.toEqual(present(first.answer));
  });

  test("another app's developer reads their own bills alone", async () => {
    const world = await startReported();
    const other = await newApp(world.registry);
    const statement = billRequestOf(world.registry, { ...world.service, app: other });
    expect(await outcomeOf(read(world, statement))).toBe("ACCOUNT_UNKNOWN");
  });
});
