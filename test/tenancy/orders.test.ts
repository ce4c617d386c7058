import { expect, test } from "vitest";
import { DataHandling, ProvisionServiceSchema, TerminateSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { signData } from "../../src/statement/statement.ts";
import { bindTestService, registerTestApp, type TestService } from "../support/developer.ts";
import { testKey, testNonce } from "../support/keys.ts";
import { providers, type RunningRegistry, startRegistry } from "../support/registry.ts";
import {
  adopt,
  NOWHERE,
  type OrderChanges,
  outcomeOf,
  type RunningPart,
  rotateOf,
  signOrder,
  startPart,
  terminateOf,
} from "./support.ts";

// What holds for every order of a developer, whatever it is about.
const rpcs = {
  rotateServiceKey: rotateOf,
  terminateService: terminateOf,
} as const;

type Rpc = keyof typeof rpcs;

type Mesh = { registry: RunningRegistry; part: RunningPart; service: TestService };

async function startMesh(options: Parameters<typeof startPart>[1] = {}): Promise<Mesh> {
  const registry = await startRegistry();
  const part = await startPart(registry, options);
  const service = await bindTestService(registry, await registerTestApp(registry));
  await adopt(part, service, registry.clock.seconds());
  return { registry, part, service };
}

function send({ part }: Mesh, rpc: Rpc, statement: Statement | undefined): Promise<string> {
  return outcomeOf(part.client[rpc](statement === undefined ? {} : { statement }));
}

function orderOf({ registry, service }: Mesh, rpc: Rpc, fields: object = {}, changes: OrderChanges = {}): Statement {
  return rpcs[rpc](registry, service, fields, changes);
}

type Case = {
  name: string;
  order: (mesh: Mesh, rpc: Rpc) => Statement | undefined | Promise<Statement>;
  outcome: string;
};

const cases: Case[] = [
  { name: "no statement", order: () => undefined, outcome: "FIELD_INVALID statement" },
  { name: "right", order: orderOf, outcome: "ok" },
  {
    name: "the last second of the window",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { header: { timestamp: secondsFromNow(mesh, -300) } }),
    outcome: "ok",
  },
  {
    name: "too old",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { header: { timestamp: secondsFromNow(mesh, -301) } }),
    outcome: "TIMESTAMP_TOO_OLD header.timestamp",
  },
  {
    name: "from the future",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { header: { timestamp: secondsFromNow(mesh, 301) } }),
    outcome: "TIMESTAMP_IN_FUTURE header.timestamp",
  },
  {
    name: "for another provider",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { header: { audience: providers.crm.domain } }),
    outcome: "AUDIENCE_MISMATCH header.audience",
  },
  {
    name: "by a key that nobody knows",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { signer: testKey("stranger") }),
    outcome: "SIGNER_UNKNOWN header.signer",
  },
  {
    name: "by the tenant's Service key",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { signer: mesh.service.key }),
    outcome: "SIGNER_NOT_AUTHORIZED header.signer",
  },
  {
    name: "by the Provider key",
    order: (mesh, rpc) => orderOf(mesh, rpc, {}, { signer: providers.article.key }),
    outcome: "SIGNER_NOT_AUTHORIZED header.signer",
  },
  {
    name: "with a signature that is not the Master key's",
    order(mesh, rpc) {
      const right = orderOf(mesh, rpc);
      return { ...right, signature: orderOf(mesh, rpc).signature };
    },
    outcome: "SIGNATURE_INVALID statement",
  },
  {
    name: "signed as the message of the other RPC",
    order: ({ registry, service }, rpc) =>
      rpc === "terminateService"
        ? rotateOf(registry, service)
        : signOrder(registry, TerminateSchema, terminateFields(service), service.app.master),
    outcome: "TYPE_MISMATCH statement",
  },
  {
    name: "with a signature of the same bytes as another message",
    order(mesh, rpc) {
      const right = orderOf(mesh, rpc);
      const { signature } = signData(ProvisionServiceSchema.typeName, right.data, mesh.service.app.master);
      return { ...right, signature };
    },
    outcome: "SIGNATURE_INVALID statement",
  },
  {
    name: "about an app that the registry does not know",
    order: (mesh, rpc) => orderOf(mesh, rpc, { appId: "test.omi-registry.nobody.shop.abcdef" }),
    outcome: "APP_UNKNOWN",
  },
  {
    name: "about an app of a registry that can't be found",
    order: (mesh, rpc) => orderOf(mesh, rpc, { appId: "test.elsewhere.nobody.shop.abcdef" }),
    outcome: "REGISTRY_UNAVAILABLE",
  },
  {
    name: "about an app of another registry than the one that answers",
    order: (mesh, rpc) => orderOf(mesh, rpc, { appId: "test.other-registry.nobody.shop.abcdef" }),
    outcome: "REGISTRY_MISMATCH",
  },
  {
    name: "about a service that is no tenant",
    order: (mesh, rpc) => orderOf(mesh, rpc, { serviceId: "another-one" }),
    outcome: "TENANT_UNKNOWN",
  },
  {
    name: "about another developer's app",
    async order(mesh, rpc) {
      const { appId } = await registerTestApp(mesh.registry);
      return orderOf(mesh, rpc, { appId });
    },
    outcome: "SIGNER_UNKNOWN header.signer",
  },
];

function secondsFromNow({ registry }: Mesh, seconds: number): bigint {
  return BigInt(registry.clock.seconds() + seconds);
}

function terminateFields({ app, serviceId }: TestService) {
  return { appId: app.appId, serviceId, context: "permanent_termination", dataHandling: DataHandling.WIPE };
}

for (const rpc of Object.keys(rpcs) as Rpc[]) {
  test.each(cases)(`${rpc}: $name`, async ({ order, outcome }) => {
    const mesh = await startMesh();
    const statement = await order(mesh, rpc);
    const actual = await send(mesh, rpc, statement);
    expect(actual).toBe(outcome);
    // A refused order changes nothing.
    if (actual !== "ok") expect(await send(mesh, rpc, orderOf(mesh, rpc))).toBe("ok");
  });

  test(`${rpc}: another order with the same nonce`, async () => {
    const mesh = await startMesh();
    const nonce = testNonce();
    expect(await send(mesh, rpc, orderOf(mesh, rpc, {}, { header: { nonce } }))).toBe("ok");
    mesh.registry.clock.advance(1);
    const other = orderOf(mesh, rpc, {}, { header: { nonce } });
    expect(await send(mesh, rpc, other)).toBe("NONCE_REUSED header.nonce");
  });

  test(`${rpc}: the registry can't be reached`, async () => {
    const mesh = await startMesh({ registryUrl: NOWHERE });
    expect(await send(mesh, rpc, orderOf(mesh, rpc))).toBe("REGISTRY_UNAVAILABLE");
  });
}
