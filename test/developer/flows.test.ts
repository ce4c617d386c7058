import { describe, expect, test } from "vitest";
import { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceStatus } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { parseAppId } from "../../src/core/app-id.ts";
import { AUTH_SERVICE_ID } from "../../src/core/names.ts";
import { Reason } from "../../src/core/refusal.ts";
import { refusalOf } from "../directory/support.ts";
import { testKey } from "../support/keys.ts";
import { providers, registryDomain } from "../support/registry.ts";
import { startApp, startMesh } from "./support.ts";

const article = { provider: providers.article.domain, serviceType: "cms-article" };

test("a namespace is claimed with Guardians and a contact that stays private", async () => {
  const { developer, connections } = await startMesh();
  const guardian = testKey("guardian");
  const claimed = await developer.claimNamespace({
    registry: registryDomain,
    namespace: "alice",
    guardians: [guardian.publicKey],
    contactEmail: "alice@example.org",
    website: "https://alice.example",
    organization: "Alice Ltd",
  });
  expect(claimed).toMatchObject({
    status: NamespaceStatus.ACTIVE,
    guardianPublicKeys: [guardian.publicKey],
    metadata: { website: "https://alice.example", organization: "Alice Ltd" },
  });
  expect(claimed.contactCommitment).toHaveLength(32);
  const { entries } = await connections.registries.forDomain(registryDomain).readLog();
  expect(JSON.stringify(entries, (_, value) => (typeof value === "bigint" ? `${value}` : value))).not.toContain(
    "alice@",
  );
});

test("an app gets the AppID that its manifest has", async () => {
  const mesh = await startMesh();
  const appId = await startApp(mesh);
  expect(parseAppId(appId)).toMatchObject({ registryDomain, namespace: "alice", slug: "shop" });
});

test("the backbone is replaced, and only by who knows its epoch", async () => {
  const mesh = await startMesh();
  const { developer } = mesh;
  const appId = await startApp(mesh);
  const services = [{ role: OperationalRole.BILLING, name: "invoices", url: "http://billing.test/invoices" }];
  expect((await developer.updateBackbone({ appId, services })).context).toMatchObject({
    configEpoch: 1n,
    operationalServices: services,
  });
  expect((await developer.updateBackbone({ appId, services: [] })).context?.operationalServices).toEqual([]);
  const late = developer.updateBackbone({ appId, services, expectedConfigEpoch: 1n });
  expect((await refusalOf(late)).reason).toBe(Reason.EPOCH_MISMATCH);
});

test("an app gets an Auth Provider", async () => {
  const mesh = await startMesh();
  const appId = await startApp(mesh);
  const app = await mesh.developer.provisionAuth({ appId, provider: providers.auth.domain });
  expect(app.context).toMatchObject({ authProvider: providers.auth.domain });
  expect(app.context?.authKeys).toHaveLength(1);
  const shown = mesh.steps.map(({ action, type, party }) => `${action} ${type.replace(/^.*\./, "")} ${party}`);
  expect(shown.slice(-7)).toEqual([
    "signed ProvisionAuth auth.test",
    "sent ProvisionAuth auth.test",
    "verified AuthProvisioned auth.test",
    "verified AppAnswer omi-registry.test",
    "signed AuthAnnouncement omi-registry.test",
    "sent AuthAnnouncement omi-registry.test",
    "verified AppAnswer omi-registry.test",
  ]);
});

describe("a service", () => {
  async function startService() {
    const mesh = await startMesh();
    const appId = await startApp(mesh);
    await mesh.developer.provisionAuth({ appId, provider: providers.auth.domain });
    const service = await mesh.developer.provisionService({ ...article, appId });
    return { ...mesh, appId, service, ref: { appId, serviceId: service.serviceId } };
  }

  test("is ordered, bound and works", async () => {
    const { service } = await startService();
    expect(service).toMatchObject({ ...article, status: ServiceStatus.ACTIVE });
  });

  test("is ordered under the ID that the developer wants", async () => {
    const { developer, appId } = await startService();
    const service = await developer.provisionService({ ...article, appId, serviceId: "news" });
    expect(service.serviceId).toBe("news");
  });

  test("gets a new key from its provider", async () => {
    const { developer, service, ref } = await startService();
    const rotated = await developer.rotate({ ...ref, graceSeconds: 600 });
    expect(rotated.keys).toHaveLength(2);
    expect(rotated.keys[1]?.keyId).toBe(service.keys[0]?.keyId);
    expect((await developer.rotate({ ...ref, immediate: true })).keys).toHaveLength(1);
  });

  test("is suspended, and restored with a fresh key", async () => {
    const { developer, service, ref } = await startService();
    expect(await developer.suspend(ref)).toMatchObject({ status: ServiceStatus.SUSPENDED, keys: [] });
    const { service: restored } = await developer.masterReset(ref);
    expect(restored.status).toBe(ServiceStatus.ACTIVE);
    expect(restored.keys[0]?.keyId).not.toBe(service.keys[0]?.keyId);
  });

  test("is suspended and restored in one go, within the same second", async () => {
    const { developer, service, ref } = await startService();
    const { service: restored } = await developer.masterReset(ref);
    expect(restored.status).toBe(ServiceStatus.ACTIVE);
    expect(restored.keys[0]?.keyId).not.toBe(service.keys[0]?.keyId);
  });

  test("of the Auth Provider is restored with a new announcement", async () => {
    const { developer, connections, appId } = await startService();
    const registry = connections.registries.forApp(appId);
    const before = await registry.resolveApp(appId, { fresh: true });
    const { app, service } = await developer.masterReset({ appId, serviceId: AUTH_SERVICE_ID });
    expect(service.status).toBe(ServiceStatus.ACTIVE);
    expect(app?.context?.authKeys[0]?.keyId).not.toBe(before.value.context?.authKeys[0]?.keyId);
  });

  test.each([DataHandling.WIPE, DataHandling.RETAIN])(
    "is ended with a receipt, data handling %s",
    async (dataHandling) => {
      const { developer, ref } = await startService();
      const ended = await developer.terminateService({ ...ref, dataHandling });
      expect(ended).toMatchObject({ repeated: false, service: { status: ServiceStatus.REVOKED, keys: [] } });
      expect(ended.receipt).toMatchObject(ref);
    },
  );

  test("is ended without its provider", async () => {
    const { developer, ref } = await startService();
    expect((await developer.unbindService(ref)).status).toBe(ServiceStatus.REVOKED);
  });

  test("that is suspended is ended without a receipt", async () => {
    const { developer, ref } = await startService();
    await developer.suspend(ref);
    const ended = await developer.terminateService({ ...ref, dataHandling: DataHandling.WIPE });
    expect(ended).toEqual({ repeated: false, service: expect.objectContaining({ status: ServiceStatus.REVOKED }) });
  });

  test("that was unbound can still be ended at its provider", async () => {
    const { developer, ref, steps } = await startService();
    await developer.unbindService(ref);
    const ended = await developer.terminateService({ ...ref, dataHandling: DataHandling.WIPE });
    expect(ended.service.status).toBe(ServiceStatus.REVOKED);
    expect(steps.filter(({ action, type }) => action === "sent" && type.endsWith("Unbind"))).toHaveLength(1);
  });

  test("that was ended stays so", async () => {
    const { developer, ref } = await startService();
    await developer.unbindService(ref);
    expect((await refusalOf(developer.suspend(ref))).reason).toBe(Reason.SERVICE_REVOKED);
  });
});
