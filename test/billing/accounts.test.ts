import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { UsageLineSchema } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { EventReason, EventSchema, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { Accounts } from "../../src/billing/accounts.ts";
import { applyEvent } from "../../src/billing/apply-event.ts";
import { billingMigrations } from "../../src/billing/migrations.ts";
import { Reason } from "../../src/core/refusal.ts";
import { openDatabase } from "../../src/store/database.ts";
import { refusalOf } from "../directory/support.ts";
import { testBytes } from "../support/keys.ts";

const id = { appId: "test.omi-registry.dev.shop.abcdef", serviceId: "journal" };
const lines = [create(UsageLineSchema, { meter: "articles_stored", amount: 2n })];

function newAccounts(): Accounts {
  return new Accounts(openDatabase(":memory:", billingMigrations));
}

function eventOf(event: EventType, at: number, reason: EventReason = EventReason.UNSPECIFIED) {
  return create(EventSchema, { header: { issuedAt: BigInt(at) }, ...id, event, reason });
}

test("an unbound service's account takes no report any more, but knows those that it took", async () => {
  const accounts = newAccounts();
  const report = { ...id, reportId: testBytes(16), lines };
  expect(accounts.add(report, 1000)).toBe(true);
  applyEvent(accounts, eventOf(EventType.PURGE, 1001));
  const final = accounts.get(id);
  expect(final).toMatchObject({ openedAt: 1000n, closedAt: 1001n, reports: 1n, totals: [{ amount: 2n }] });
  const { reason } = await refusalOf(() => accounts.add({ ...report, reportId: testBytes(16) }, 1002));
  expect(reason).toBe(Reason.ACCOUNT_CLOSED);
  expect(accounts.add(report, 1002)).toBe(false);
  // The end is the first one, whatever comes later.
  applyEvent(accounts, eventOf(EventType.PURGE, 2000));
  expect(accounts.get(id)).toEqual(final);
  expect(accounts.openApps()).toEqual([]);
});

test("a first report that comes after the unbinding opens nothing", async () => {
  const accounts = newAccounts();
  applyEvent(accounts, eventOf(EventType.PURGE, 1001));
  const { reason } = await refusalOf(() => accounts.add({ ...id, reportId: testBytes(16), lines }, 1002));
  expect(reason).toBe(Reason.ACCOUNT_CLOSED);
  expect(accounts.get(id)).toBeUndefined();
});

test.each([
  [EventType.KEY_ROTATION, EventReason.UNSPECIFIED],
  [EventType.KEY_ROTATION, EventReason.MASTER_RESET],
  [EventType.SERVICE_BOUND, EventReason.UNSPECIFIED],
  [EventType.AUTH_CHANGED, EventReason.UNSPECIFIED],
  [EventType.BACKBONE_UPDATE, EventReason.UNSPECIFIED],
])("event %s with reason %s leaves the account open", (event, reason) => {
  const accounts = newAccounts();
  accounts.add({ ...id, reportId: testBytes(16), lines }, 1000);
  applyEvent(accounts, eventOf(event, 1001, reason));
  expect(accounts.get(id)?.closedAt).toBe(0n);
  expect(accounts.openApps()).toEqual([id.appId]);
});

test("a total that can't be counted any more is refused, and leaves what there was", async () => {
  const db = openDatabase(":memory:", billingMigrations);
  const accounts = new Accounts(db);
  accounts.add({ ...id, reportId: testBytes(16), lines }, 1000);
  const nearlyAll = 2n ** 63n - 2n;
  db.prepare("UPDATE totals SET amount = ?").run(nearlyAll);
  expect(accounts.get(id)?.totals[0]?.amount).toBe(nearlyAll);
  const { reason, metadata } = await refusalOf(() => accounts.add({ ...id, reportId: testBytes(16), lines }, 1001));
  expect([reason, metadata]).toEqual([Reason.FIELD_INVALID, { field: "lines[0].amount", rule: "max" }]);
  const one = [create(UsageLineSchema, { meter: "articles_stored", amount: 1n })];
  accounts.add({ ...id, reportId: testBytes(16), lines: one }, 1001);
  expect(accounts.get(id)?.totals[0]?.amount).toBe(2n ** 63n - 1n);
});
