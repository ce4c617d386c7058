import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { AccountStatus, BillingService, BillSchema } from "../../gen/omi/billing/v1/billing_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm, KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { createDeveloper } from "../../src/developer/developer.ts";
import { saveSigningKey } from "../../src/developer/signing-key.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { signStatement, statementId } from "../../src/statement/statement.ts";
import { outcomeOf } from "../auth/support.ts";
import { billingProvider, report, startWorld, totalsOf } from "../billing/support.ts";
import { runHere } from "../cli/support.ts";
import { connectionsTo, entryJson } from "../directory/support.ts";
import { backboneOf, present } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testBytes, testKey } from "../support/keys.ts";
import { registryDomain } from "../support/registry.ts";
import { impatient, serve } from "./support.ts";

const entry = entryJson({
  domain: billingProvider.domain,
  party: Party.BILLING_PROVIDER,
  baseUrl: `http://${billingProvider.domain}`,
  keys: [{ publicKey: billingProvider.key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
});

/** A developer whose service has reported usage; `at` is where they find the Billing provider. */
async function startReported(at?: string) {
  const world = await startWorld();
  await report(world, world.service);
  const { registry, app, service, running } = world;
  const hosts = { [billingProvider.domain]: at ?? running.at };
  const developer = createDeveloper({
    masterKey: app.master,
    connections: connectionsTo(registry, { directory: [entry], hosts }),
    clock: impatient(registry.clock),
    random: testBytes,
  });
  return { ...world, developer, hosts, order: { appId: app.appId, serviceId: service.serviceId } };
}

test("a developer reads a bill at the provider that the backbone names, or that they name", async () => {
  const { developer, order } = await startReported();
  for (const named of [{}, { provider: billingProvider.domain }]) {
    const bill = await developer.readBill({ ...order, ...named });
    expect(bill).toMatchObject({ ...order, status: AccountStatus.OPEN, reports: 1n });
    expect(totalsOf(bill)).toEqual({ articles_stored: 1 });
  }
});

test("a bill that isn't there, and a provider that can't be known", async () => {
  const { registry, app, developer, order } = await startReported();
  expect(await outcomeOf(developer.readBill({ ...order, serviceId: "journal" }))).toBe("ACCOUNT_UNKNOWN");
  expect(await outcomeOf(developer.readBill({ ...order, provider: "elsewhere.test" }))).toBe("PROVIDER_UNKNOWN");
  expect(await outcomeOf(developer.readBill({ ...order, provider: registryDomain }))).toBe("PROVIDER_UNKNOWN");
  const update = backboneOf(registry.clock, app, { operationalServices: [], expectedConfigEpoch: 2n });
  await registry.registry.updateBackbone({ statement: update });
  expect(await outcomeOf(developer.readBill(order))).toBe("SERVICE_UNKNOWN");
});

type Lie = { appId?: string; serviceId?: string; inReplyTo?: Uint8Array; signer?: SigningKey };

test.each<[string, Lie]>([
  ["of another app", { appId: "test.omi-registry.dev.other.abcdef" }],
  ["of another service", { serviceId: "journal" }],
  ["to another request", { inReplyTo: new Uint8Array(32) }],
  ["signed by somebody else", { signer: testKey("stranger") }],
])("a bill %s is not believed", async (_, { inReplyTo, signer = billingProvider.key, ...lie }) => {
  const at = await serve({
    routes: (router) =>
      router.service(BillingService, {
        readBill: ({ statement }) => {
          const header = { issuedAt: 1_790_000_000n, inReplyTo: inReplyTo ?? statementId(present(statement)) };
          return { answer: signStatement(BillSchema, { header, ...order, ...lie }, signer) };
        },
      }),
  });
  const { developer, order } = await startReported(at);
  expect(await outcomeOf(developer.readBill(order))).toMatch(/^ANSWER_INVALID/);
});

test("omi bill show", async () => {
  const { registry, app, hosts, order } = await startReported();
  const folder = temporaryFolder();
  saveSigningKey(join(folder, "master.json"), KeyRole.MASTER, app.master);
  const keys = [{ publicKey: registry.key.publicKey, algorithm: KeyAlgorithm.ED25519 }];
  const baseUrl = `http://${registryDomain}`;
  const registryEntry = entryJson({ domain: registryDomain, party: Party.REGISTRY, baseUrl, keys });
  const config = {
    development: true,
    directory: [registryEntry, entry],
    hosts: { ...hosts, [registryDomain]: new URL(registry.url).host },
  };
  writeFileSync(join(folder, "omi.json"), JSON.stringify(config));
  const env = { OMI_CONFIG: join(folder, "omi.json"), OMI_KEY: join(folder, "master.json") };
  const args = ["bill", "show", order.appId, order.serviceId, "--json"];
  const { code, stdout, stderr } = await runHere(args, { env, clock: impatient(registry.clock) });
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  expect(JSON.parse(stdout)).toMatchObject({
    app_id: order.appId,
    service_id: order.serviceId,
    status: "ACCOUNT_STATUS_OPEN",
    totals: [{ meter: "articles_stored", amount: 1 }],
    reports: 1,
  });
});
