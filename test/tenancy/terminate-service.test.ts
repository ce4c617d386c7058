import { expect, test } from "vitest";
import { DataHandling, TerminationReceiptSchema, TerminationStatus } from "../../gen/omi/agent/v1/agent_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { openRequest, statementId, verifySignature } from "../../src/statement/statement.ts";
import { bindTestService, registerTestApp, suspendOf, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { registryDomain, startRegistry } from "../support/registry.ts";
import { adopt, outcomeOf, recordOf, rotate, rotateOf, startPart, terminate, terminateOf } from "./support.ts";

async function startMesh(options: Parameters<typeof startPart>[1] = {}) {
  const registry = await startRegistry();
  const part = await startPart(registry, options);
  const service = await bindTestService(registry, await registerTestApp(registry));
  await adopt(part, service, registry.clock.seconds());
  return { registry, part, service };
}

test("the receipt is by the service's key and answers the order, and the registry accepts it", async () => {
  const { registry, part, service } = await startMesh();
  const order = terminateOf(registry, service);
  const receipt = await terminate(part, order);
  const opened = openRequest(TerminationReceiptSchema, receipt);
  await verifySignature(opened, service.key.publicKey);
  expect(opened.header.audience).toBe(registryDomain);
  expect(opened.message).toMatchObject({
    appId: service.app.appId,
    serviceId: service.serviceId,
    status: TerminationStatus.SUCCESS,
  });
  expect(opened.message.requestDigest).toEqual(statementId(order));
  expect(part.terminations).toEqual([DataHandling.WIPE]);
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service, receipt) });
  expect((await recordOf(registry, service)).status).toBe(ServiceStatus.REVOKED);
});

test("the receipt stays the same, whoever asks again, hours later and by another process too", async () => {
  const registry = await startRegistry();
  const databaseFile = `${temporaryFolder()}/part.db`;
  const first = await startPart(registry, { databaseFile });
  const service = await bindTestService(registry, await registerTestApp(registry));
  await adopt(first, service, registry.clock.seconds());
  const order = terminateOf(registry, service);
  const receipt = await terminate(first, order);
  expect(await terminate(first, order)).toEqual(receipt);
  registry.clock.advance(10_000);
  await first.stop();
  const second = await startPart(registry, { databaseFile });
  expect(await terminate(second, order)).toEqual(receipt);
  const another = terminateOf(registry, service, { dataHandling: DataHandling.RETAIN });
  expect(await terminate(second, another)).toEqual(receipt);
  expect(second.terminations).toEqual([]);
});

test("the same order many times at once ends the tenant once", async () => {
  const { registry, part, service } = await startMesh();
  const order = terminateOf(registry, service, { dataHandling: DataHandling.RETAIN });
  const receipts = await Promise.all(Array.from({ length: 8 }, () => terminate(part, order)));
  for (const receipt of receipts) expect(receipt).toEqual(receipts[0]);
  expect(part.terminations).toEqual([DataHandling.RETAIN]);
});

test("the receipt is by the key that is current after a rotation", async () => {
  const { registry, part, service } = await startMesh();
  await rotate(part, rotateOf(registry, service));
  const receipt = await terminate(part, terminateOf(registry, service));
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service, receipt) });
});

test("a suspended service is ended too, and unbound without the receipt", async () => {
  const { registry, part, service } = await startMesh();
  await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
  const receipt = await terminate(part, terminateOf(registry, service));
  const withReceipt = { statement: unbindOf(registry.clock, service, receipt) };
  expect(await outcomeOf(registry.registry.unbindService(withReceipt))).toMatch(/^KEY_NOT_CURRENT/);
  await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
});

test("data is handled only as the provider offers it", async () => {
  const { registry, part, service } = await startMesh({ dataHandling: [DataHandling.WIPE] });
  const retain = terminateOf(registry, service, { dataHandling: DataHandling.RETAIN });
  expect(await outcomeOf(terminate(part, retain))).toBe("PROVIDER_REFUSED data_handling");
  expect(await outcomeOf(terminate(part, terminateOf(registry, service)))).toBe("ok");
});

test.each([
  ["no data handling", { dataHandling: DataHandling.UNSPECIFIED }, "FIELD_INVALID data_handling"],
  ["another data handling", { dataHandling: 7 as DataHandling }, "FIELD_INVALID data_handling"],
  ["another context", { context: "decommission" }, "FIELD_INVALID context"],
])("%s", async (_name, fields, outcome) => {
  const { registry, part, service } = await startMesh();
  expect(await outcomeOf(terminate(part, terminateOf(registry, service, fields)))).toBe(outcome);
});

test("a tenant whose data could not be handled is out of service, and ended by the next attempt", async () => {
  let broken = true;
  const onTerminate = () => {
    if (broken) throw new Error("disk full");
  };
  const { registry, part, service } = await startMesh({ onTerminate });
  const order = terminateOf(registry, service);
  expect(await outcomeOf(terminate(part, order))).toBe("INTERNAL");
  expect(await outcomeOf(rotate(part, rotateOf(registry, service)))).toBe("TENANT_TERMINATED");
  broken = false;
  const receipt = await terminate(part, terminateOf(registry, service, { dataHandling: DataHandling.RETAIN }));
  expect(openRequest(TerminationReceiptSchema, receipt).message.requestDigest).toEqual(statementId(order));
  expect(part.terminations).toEqual([DataHandling.WIPE]);
});
