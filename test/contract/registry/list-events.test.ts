import { getOption } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { EventService } from "../../../gen/omi/event/v1/event_service_pb.ts";
import { rule } from "../../../gen/omi/options/v1/options_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { openAnswer, statementId, verifySignature } from "../../../src/statement/statement.ts";
import { backboneOf, bindTestService, registerTestApp, type TestApp } from "../../support/developer.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { appIdElsewhere, unknownAppId } from "../support/records.ts";
import { refused } from "../support/refused.ts";

/** An app with five events. */
async function started(): Promise<{ registry: RunningRegistry; app: TestApp }> {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  await bindTestService(registry, app);
  await bindTestService(registry, await registerTestApp(registry));
  for (const expectedConfigEpoch of [0n, 1n, 2n]) {
    await registry.registry.updateBackbone({ statement: backboneOf(registry.clock, app, { expectedConfigEpoch }) });
  }
  return { registry, app };
}

test("the events of the app alone, from a sequence on, in order", async () => {
  const { registry, app } = await started();
  const { events } = await registry.events.listEvents({ appId: app.appId, afterSequence: 1n });
  const opened = events.map((event) => openAnswer(EventSchema, event));
  await Promise.all(opened.map((event) => verifySignature(event, registry.key.publicKey)));
  expect(opened.map(({ message }) => [message.appId, message.sequence])).toEqual(
    [2n, 3n, 4n, 5n].map((sequence) => [app.appId, sequence]),
  );
});

test("pages follow one another until there is nothing more", async () => {
  const { registry, app } = await started();
  const seen: bigint[] = [];
  for (;;) {
    const { events } = await registry.events.listEvents({
      appId: app.appId,
      afterSequence: seen.at(-1) ?? 0n,
      pageSize: 2,
    });
    if (events.length === 0) break;
    expect(events.length).toBeLessThanOrEqual(2);
    seen.push(...events.map((event) => openAnswer(EventSchema, event).message.sequence));
  }
  expect(seen).toEqual([1n, 2n, 3n, 4n, 5n]);
});

test("an event is the same bytes for ever", async () => {
  const { registry, app } = await started();
  const ids = async () =>
    (await registry.events.listEvents({ appId: app.appId })).events.map((event) => statementId(event));
  const before = await ids();
  registry.clock.advance(86_400);
  expect(await ids()).toEqual(before);
});

test.for([
  [Reason.APP_UNKNOWN, "an app that is not registered", () => ({ appId: unknownAppId })],
  [Reason.APP_UNKNOWN, "an app of another registry", () => ({ appId: appIdElsewhere })],
  [Reason.CURSOR_INVALID, "a sequence that is still to come", (appId: string) => ({ appId, afterSequence: 6n })],
  [Reason.FIELD_INVALID, "a page of more than 500", (appId: string) => ({ appId, pageSize: 501 })],
] as const)("refuses $1", async ([reason, , request]) => {
  const { registry, app } = await started();
  await refused(registry.events.listEvents(request(app.appId)), reason);
});

test("these are all Reasons that the contract gives the RPC by name", () => {
  const { failsWith } = getOption(EventService.method.listEvents, rule);
  expect(failsWith).toEqual([Reason.APP_UNKNOWN, Reason.CURSOR_INVALID]);
});
