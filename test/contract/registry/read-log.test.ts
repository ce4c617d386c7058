import { createHash } from "node:crypto";
import { create, getOption, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { rule } from "../../../gen/omi/options/v1/options_pb.ts";
import { OperationalRole } from "../../../gen/omi/registry/v1/app_pb.ts";
import { type LogEntry, LogEntryInputSchema, LogService } from "../../../gen/omi/registry/v1/log_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { openAnswer, statementId, verifySignature } from "../../../src/statement/statement.ts";
import {
  announcementOf,
  backboneOf,
  bindTestService,
  present,
  receiptOf,
  registerTestApp,
  rotateTestService,
  suspendOf,
  unbindOf,
} from "../../support/developer.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { refused } from "../support/refused.ts";

/** A registry in which everything has happened once, a second apart. */
async function eventful(): Promise<RunningRegistry> {
  const registry = await startRegistry();
  const { clock } = registry;
  const then = async <T>(step: Promise<T>) => {
    const done = await step;
    clock.advance(1);
    return done;
  };
  const app = await then(registerTestApp(registry));
  await then(registry.registry.updateBackbone({ statement: backboneOf(clock, app) }));
  const announcement = { expectedConfigEpoch: 1n };
  await then(registry.registry.announceAuth({ statement: announcementOf(clock, app, { announcement }) }));
  const bound = await then(bindTestService(registry, app));
  const service = await then(rotateTestService(registry, bound));
  await then(registry.registry.suspendService({ statement: suspendOf(clock, service) }));
  const other = await then(bindTestService(registry, app, "other-1"));
  await then(registry.registry.unbindService({ statement: unbindOf(clock, other, receiptOf(clock, other)) }));
  return registry;
}

/** Checks a chain of entries by the words of the contract alone. */
function checkChain(entries: readonly LogEntry[]): void {
  let previousHash: Uint8Array = new Uint8Array();
  for (const [position, entry] of entries.entries()) {
    const { index, time, statementId: id, effectType, effect, hash, statement } = entry;
    expect(index).toBe(BigInt(position + 1));
    expect(time).toBeGreaterThanOrEqual(entries[position - 1]?.time ?? 0n);
    expect(entry.previousHash).toEqual(previousHash);
    const input = create(LogEntryInputSchema, { index, time, statementId: id, effectType, effect, previousHash });
    expect(hash).toEqual(createHash("sha256").update(toBinary(LogEntryInputSchema, input)).digest());
    if (statement !== undefined) expect(statementId(statement)).toEqual(id);
    previousHash = hash;
  }
}

test("the chain holds, up to the signed head, without the bodies that are private", async () => {
  const registry = await eventful();
  const { entries, heads } = await registry.log.readLog({});
  checkChain(entries);
  expect(entries.map(({ effectType, statement }) => [effectType.split(".").at(-1), statement !== undefined])).toEqual([
    ["RegistryKeysPublished", true],
    ["NamespaceClaimed", true],
    ["AppRegistered", true],
    ["BackboneChanged", true],
    ["AuthAnnounced", false],
    ["ServiceBound", false],
    ["KeyRotated", true],
    ["ServiceSuspended", true],
    ["ServiceBound", false],
    ["ServiceUnbound", false],
  ]);
  const head = openAnswer(HeadsSchema, present(heads));
  await verifySignature(head, registry.key.publicKey);
  expect(head.message).toMatchObject({ logIndex: 10n, logHash: entries.at(-1)?.hash });
});

test("pages follow one another", async () => {
  const registry = await eventful();
  const entries: LogEntry[] = [];
  for (;;) {
    const page = await registry.log.readLog({ startIndex: BigInt(entries.length + 1), pageSize: 3 });
    if (page.entries.length === 0) break;
    expect(page.entries.length).toBeLessThanOrEqual(3);
    entries.push(...page.entries);
  }
  checkChain(entries);
  expect(entries).toHaveLength(10);
});

test("a page of large entries ends early, and the next one goes on", async () => {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const operationalServices = Array.from({ length: 30 }, (_, index) => ({
    role: OperationalRole.BILLING,
    name: `bill-${index}`,
    url: `https://billing.test/${"a".repeat(2000)}`,
  }));
  for (let epoch = 0n; epoch < 12n; epoch++) {
    const statement = backboneOf(registry.clock, app, { operationalServices, expectedConfigEpoch: epoch });
    await registry.registry.updateBackbone({ statement });
  }
  const first = await registry.log.readLog({ pageSize: 500 });
  expect(first.entries.length).toBeLessThan(15);
  const second = await registry.log.readLog({ startIndex: BigInt(first.entries.length + 1), pageSize: 500 });
  checkChain([...first.entries, ...second.entries]);
  expect(first.entries.length + second.entries.length).toBe(15);
});

test("behind the last entry there is nothing yet", async () => {
  const registry = await eventful();
  expect((await registry.log.readLog({ startIndex: 11n })).entries).toEqual([]);
});

test.for([
  [Reason.CURSOR_INVALID, "an index that is still to come", { startIndex: 12n }],
  [Reason.CURSOR_INVALID, "the greatest of all indexes", { startIndex: 2n ** 64n - 1n }],
  [Reason.FIELD_INVALID, "a page of more than 500", { pageSize: 501 }],
] as const)("refuses $1", async ([reason, , request]) => {
  const registry = await eventful();
  await refused(registry.log.readLog(request), reason);
});

test("these are all Reasons that the contract gives the RPC by name", () => {
  expect(getOption(LogService.method.readLog, rule).failsWith).toEqual([Reason.CURSOR_INVALID]);
});
