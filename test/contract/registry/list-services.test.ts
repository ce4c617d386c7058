import { expect, test } from "vitest";
import {
  type ServiceListAnswer,
  ServiceListAnswerSchema,
  ServiceStatus,
} from "../../../gen/omi/registry/v1/service_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { type OpenedAnswer, openAnswer } from "../../../src/statement/statement.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestApp,
  unbindOf,
} from "../../support/developer.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { refused } from "../support/refused.ts";

async function started(serviceIds: readonly string[]) {
  const registry = await startRegistry();
  const app = await registerTestApp(registry);
  const services = [];
  for (const serviceId of serviceIds) services.push(await bindTestService(registry, app, serviceId));
  return { registry, app, services };
}

async function list(
  registry: RunningRegistry,
  app: TestApp,
  request: { pageSize?: number; pageToken?: string } = {},
): Promise<OpenedAnswer<typeof ServiceListAnswerSchema>> {
  const { answer } = await registry.resolver.listServices({ appId: app.appId, ...request });
  return openAnswer(ServiceListAnswerSchema, present(answer));
}

function idsOf({ services }: ServiceListAnswer): string[] {
  return services.map((service) => service.serviceId);
}

test("pages follow one another by ascending ID, all of one state", async () => {
  const { registry, app } = await started(["c1", "a1", "e1", "b1", "d1"]);
  const pages: string[][] = [];
  const sequences = new Set<bigint>();
  let pageToken = "";
  do {
    const { header, message } = await list(registry, app, { pageSize: 2, pageToken });
    pages.push(idsOf(message));
    sequences.add(header.appSequence);
    pageToken = message.nextPageToken;
  } while (pageToken !== "");
  expect(pages).toEqual([["a1", "b1"], ["c1", "d1"], ["e1"]]);
  expect([...sequences]).toEqual([6n]);
});

test("a page that is just full is the last one", async () => {
  const { registry, app } = await started(["a1", "b1"]);
  const { message } = await list(registry, app, { pageSize: 2 });
  expect(idsOf(message)).toEqual(["a1", "b1"]);
  expect(message.nextPageToken).toBe("");
});

test("tombstones and suspended services are in the list", async () => {
  const { registry, app, services } = await started(["a1", "b1", "c1"]);
  const [first, second] = services;
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, present(first)) });
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, present(second)) });
  const { message } = await list(registry, app);
  expect(message.services.map(({ status, keys }) => [status, keys.length])).toEqual([
    [ServiceStatus.REVOKED, 0],
    [ServiceStatus.SUSPENDED, 0],
    [ServiceStatus.ACTIVE, 1],
  ]);
});

test("a page expires with the first grace period that it tells of", async () => {
  const { registry, app, services } = await started(["a1", "b1"]);
  await rotateTestService(registry, present(services[1]), { gracePeriodSeconds: 15 });
  const { header } = await list(registry, app);
  expect(header.expiresAt - header.issuedAt).toBe(15n);
});

test("when the app changes between two pages, the list begins anew", async () => {
  const { registry, app } = await started(["a1", "b1", "c1"]);
  const { message } = await list(registry, app, { pageSize: 1 });
  await bindTestService(registry, app, "b2");
  await refused(list(registry, app, { pageToken: message.nextPageToken }), Reason.LIST_CHANGED);
});

test("a change of another app does not matter", async () => {
  const { registry, app } = await started(["a1", "b1"]);
  const { message } = await list(registry, app, { pageSize: 1 });
  await bindTestService(registry, await registerTestApp(registry));
  expect(idsOf((await list(registry, app, { pageToken: message.nextPageToken })).message)).toEqual(["b1"]);
});

test.each(["no token", "3", "3.", "3.a1.b1", "3.A1", "-3.a1", "3e0.a1", " 3.a1", "3.a1 ", `${"9".repeat(16)}.a1`])(
  "%j is no page token",
  async (pageToken) => {
    const { registry, app } = await started(["a1", "b1"]);
    const refusal = await refused(list(registry, app, { pageToken }), Reason.CURSOR_INVALID);
    expect(refusal.metadata.field).toBe("page_token");
  },
);

test("a page has at most 100 services", async () => {
  const { registry, app } = await started([]);
  await refused(list(registry, app, { pageSize: 101 }), Reason.FIELD_INVALID);
  expect(idsOf((await list(registry, app, { pageSize: 100 })).message)).toEqual([]);
});
