import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { GetHeadsRequestSchema } from "../../../gen/omi/event/v1/event_service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { openAnswer, verifySignature } from "../../../src/statement/statement.ts";
import { bindTestService, present, registerTestApp } from "../../support/developer.ts";
import { testNonce } from "../../support/keys.ts";
import { type RunningRegistry, registryDomain, startRegistry } from "../../support/registry.ts";
import { unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";

async function heads(
  registry: RunningRegistry,
  request: { appIds?: string[]; nonce?: Uint8Array; knownLogIndex?: bigint } = {},
) {
  const opened = openAnswer(HeadsSchema, present((await registry.events.getHeads(request)).heads));
  await verifySignature(opened, registry.key.publicKey);
  return opened;
}

test("the head of the log, which the last entry's hash proves", async () => {
  const registry = await startRegistry();
  await registerTestApp(registry);
  const { message } = await heads(registry);
  const { entries } = await registry.log.readLog({});
  expect(message).toMatchObject({ origin: registryDomain, logIndex: 3n, logHash: entries.at(-1)?.hash, apps: [] });
});

test("the hash of an earlier entry, as long as the log has it", async () => {
  const registry = await startRegistry();
  await registerTestApp(registry);
  const { entries } = await registry.log.readLog({});
  const hashAt = async (knownLogIndex: bigint) => (await heads(registry, { knownLogIndex })).message.knownLogHash;
  for (const entry of entries) expect(await hashAt(entry.index)).toEqual(entry.hash);
  for (const none of [0n, 4n, 2n ** 64n - 1n]) expect(await hashAt(none)).toEqual(new Uint8Array());
});

test("the heads of the apps that were asked for, each once, in order, unknown ones left out", async () => {
  const registry = await startRegistry();
  const first = await registerTestApp(registry);
  const second = await registerTestApp(registry);
  await bindTestService(registry, second);
  const appIds = [second.appId, unknownAppId, first.appId, second.appId];
  const { message } = await heads(registry, { appIds });
  const expected = [
    { appId: first.appId, sequence: 1n },
    { appId: second.appId, sequence: 2n },
  ].sort((a, b) => (a.appId < b.appId ? -1 : 1));
  expect(message.apps).toMatchObject(expected);
});

test("the answer repeats the question and is good for 10 s", async () => {
  const registry = await startRegistry();
  const request = { appIds: [unknownAppId], nonce: testNonce() };
  const now = BigInt(registry.clock.seconds());
  expect((await heads(registry, request)).header).toMatchObject({
    issuedAt: now,
    expiresAt: now + 10n,
    query: toBinary(GetHeadsRequestSchema, create(GetHeadsRequestSchema, request)),
  });
});

test.for([
  ["more than 1,000 apps", { appIds: Array.from({ length: 1001 }, () => unknownAppId) }],
  ["what is no AppID", { appIds: [unknownAppId, "shop"] }],
  ["a nonce of 17 bytes", { nonce: new Uint8Array(17) }],
] as const)("refuses $0", async ([, request]) => {
  const registry = await startRegistry();
  await refused(heads(registry, request as Parameters<typeof heads>[1]), Reason.FIELD_INVALID);
});
