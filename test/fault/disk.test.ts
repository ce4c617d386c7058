import { expect, test } from "vitest";
import { DataHandling } from "../../gen/omi/agent/v1/agent_pb.ts";
import { OperationalRole } from "../../gen/omi/registry/v1/app_pb.ts";
import { ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createDeveloper, type Developer } from "../../src/developer/developer.ts";
import { generateSigningKey } from "../../src/developer/signing-key.ts";
import { rebuildRegistry } from "../../src/operator/commands.ts";
import { meshDomains } from "../../src/operator/mesh.ts";
import { auditProvider } from "./support/audit-provider.ts";
import { auditRegistry } from "./support/audit-registry.ts";
import { Calls } from "./support/calls.ts";
import { accountedConnections } from "./support/connections.ts";
import { failDisk, repairDisk } from "./support/disk.ts";
import { type FaultMesh, providerNames, withFaultMesh } from "./support/fault-mesh.ts";
import { readRegistry } from "./support/registry-facts.ts";
import { followServices } from "./support/service-history.ts";

const { registry, auth, articles } = meshDomains;

/** What a developer does, in this order, and which parts write when it is done. */
const flows = [
  { name: "backbone", writers: ["registry"] },
  { name: "announce", writers: ["registry", "auth-provider"] },
  { name: "rotate auth", writers: ["registry", "auth-provider"] },
  { name: "provision", writers: ["registry", "cms-article"] },
  { name: "rotate", writers: ["registry", "cms-article"] },
  { name: "suspend", writers: ["registry"] },
  { name: "terminate", writers: ["registry", "cms-article"] },
] as const;

type Flow = (typeof flows)[number]["name"];

const parts = ["registry", "auth-provider", "cms-article"] as const;
const failures = ["full", "read-only"] as const;
const cases = parts.flatMap((part) => failures.map((failure) => ({ part, failure })));

test("a part whose disk fails refuses what it can't keep, and goes on when the disk is good again", async () => {
  await withFaultMesh(async (mesh) => {
    await mesh.start();
    const calls = new Calls();
    const connections = accountedConnections(mesh.mesh, calls, "stubborn");
    const developer = createDeveloper({
      masterKey: generateSigningKey(systemRandom),
      connections,
      clock: systemClock,
      random: systemRandom,
    });
    const sequenceOf = async (appId: string) => {
      const { header } = await connections.registries.forApp(appId).resolveApp(appId, { fresh: true });
      return header.appSequence;
    };
    await developer.claimNamespace({ registry, namespace: "alice" });

    for (const [index, { part, failure }] of cases.entries()) {
      const slug = `app-${index}`;
      const { appId } = await developer.registerApp({ registry, namespace: "alice", slug, displayName: slug });
      await developer.provisionAuth({ appId, provider: auth });
      for (const { name, writers } of flows) {
        const what = `${name}, ${part} ${failure}`;
        const isHit = writers.some((writer) => writer === part);
        const before = await sequenceOf(appId);
        if (isHit) failDisk(mesh.members[part], mesh.databaseFile(part), failure);
        const failed = calls.nextFailed;
        const done = run(developer, appId, name);
        if (isHit) {
          expect([Reason.INTERNAL, Reason.REGISTRY_UNAVAILABLE], what).toContain((await failed).reason);
          // What can be read, still can, and nothing has happened.
          expect(await sequenceOf(appId), what).toBe(before);
          repairDisk(mesh.members[part]);
        }
        // By now with the same bytes.
        await done;
        mesh.check();
      }
    }
    await mesh.stop();
    expectAllDoneOnce(mesh);
  });
});

test("a part whose disk fails can be stopped, and comes back", async () => {
  await withFaultMesh(async (mesh) => {
    for (const failure of failures) {
      await mesh.start();
      const connections = accountedConnections(mesh.mesh, new Calls(), "impatient");
      for (const part of parts) failDisk(mesh.members[part], mesh.databaseFile(part), failure);
      // Leaves lines in the log of the registry, which can't be written either.
      await connections.registries.forDomain(registry).resolveRegistry({ fresh: true });
      await mesh.stop();
      connections.close();
    }
  });
});

function run(developer: Developer, appId: string, name: Flow): Promise<unknown> {
  const serviceId = "articles";
  switch (name) {
    case "backbone": {
      const services = [{ role: OperationalRole.LOGGING, name: "logs", url: `http://${articles}/otlp` }];
      return developer.updateBackbone({ appId, services });
    }
    case "announce":
      return developer.provisionAuth({ appId, provider: auth });
    case "rotate auth":
      return developer.rotate({ appId, serviceId: "auth", immediate: true });
    case "provision":
      return developer.provisionService({ appId, provider: articles, serviceType: "cms-article", serviceId });
    case "rotate":
      return developer.rotate({ appId, serviceId, immediate: true });
    case "suspend":
      return developer.suspend({ appId, serviceId });
    case "terminate":
      return developer.terminateService({ appId, serviceId, dataHandling: DataHandling.WIPE });
  }
}

/** Every flow of every app has left its traces once, and all parts agree. */
function expectAllDoneOnce(mesh: FaultMesh): void {
  const facts = readRegistry(mesh.databaseFile("registry"));
  const { histories, problems } = followServices(facts);
  problems.push(...auditRegistry(facts, histories));
  for (const name of providerNames) {
    problems.push(...auditProvider(mesh.databaseFile(name), mesh.members[name].member.domain, { facts, histories }));
  }
  expect(problems).toEqual([]);
  expect(histories.size).toBe(2 * cases.length);
  for (const { serviceId, status, bound, rotated, suspended } of histories.values()) {
    const expected =
      serviceId === "auth"
        ? { status: ServiceStatus.ACTIVE, bound: 2, rotated: 1, suspended: 0 }
        : { status: ServiceStatus.REVOKED, bound: 1, rotated: 1, suspended: 1 };
    expect({ status, bound, rotated, suspended }).toEqual(expected);
  }
  const backbones = facts.log.filter(({ effect }) => effect.$typeName === "omi.registry.v1.BackboneChanged");
  expect(backbones).toHaveLength(cases.length);
  expect(rebuildRegistry(mesh.databaseFile("registry"), () => {})).toMatchObject({ equal: true });
}
