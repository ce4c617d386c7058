import { createClient } from "@connectrpc/connect";
import { ServiceProvisionedSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { systemClock, unixSeconds } from "../../src/core/clock.ts";
import { Reason } from "../../src/core/refusal.ts";
import { newKey, signBinding, signOrder } from "../../src/demo/vendor.ts";
import { providerKey } from "../../src/directory/entry.ts";
import { verifyAnswer } from "../../src/directory/verified.ts";
import { meshDomains } from "../../src/operator/mesh.ts";
import { keyIdOf } from "../../src/statement/key-id.ts";
import { statementId } from "../../src/statement/statement.ts";
import { firstBySecond, type Row } from "../harness.ts";
import { type BenchMesh, startBenchMesh } from "../mesh.ts";

const { registry: registryDomain, articles } = meshDomains;

/** The mean time of something in milliseconds, done one after the other for so long. */
async function meanOf(seconds: number, work: () => Promise<unknown> | unknown): Promise<number> {
  const start = performance.now();
  let count = 0;
  do {
    await work();
    count++;
  } while (performance.now() - start < seconds * 1000);
  return (performance.now() - start) / count;
}

/** The time of each thing that the flow is made of, by itself and warm: calls and signatures, nothing else. */
async function partsOf(mesh: BenchMesh, seconds: number, next: () => string): Promise<number> {
  const { connections, appId, master } = mesh;
  const registry = connections.registries.forApp(appId);
  // The binding, with the signatures of all who take part.
  const bind = () => registry.bindService(bindingFor(mesh, next()));
  // The call to the provider, of an order that it has done: so it only makes its Identity Pulse (a fresh read of the app),
  // verifies and signs. The developer verifies the answer.
  const transport = await connections.transportFor(articles, Reason.REGISTRY_UNAVAILABLE);
  const agent = createClient(AgentService, transport);
  const entry = await connections.directory.lookup(articles);
  const keyId = keyIdOf(entry.keys[0]?.publicKey ?? new Uint8Array());
  const known: Statement = signOrder(serviceOf(mesh, next()), { domain: articles, keyId }, master);
  const call = async () => {
    const { answer } = await agent.provisionService({ statement: known });
    const now = unixSeconds(systemClock);
    await verifyAnswer(ServiceProvisionedSchema, answer, {
      domain: articles,
      field: "answer",
      inReplyTo: statementId(known),
      now,
      signerKey: (signer) => providerKey(entry, signer, now),
    });
  };
  await call();
  // The developer's look at the record.
  const { serviceId } = (await bind()).value.service;
  const parts = [bind, call, () => registry.resolveService(appId, serviceId, { fresh: true })];
  let sum = 0;
  for (const part of parts) sum += await meanOf(seconds / parts.length, part);
  return sum;
}

const serviceOf = ({ appId }: BenchMesh, serviceId: string) => ({ registry: registryDomain, appId, serviceId });

function bindingFor(mesh: BenchMesh, serviceId: string): Statement {
  const { master, stranger } = mesh;
  const service = serviceOf(mesh, serviceId);
  const order = signOrder(service, { domain: stranger.domain, keyId: stranger.key.keyId }, master);
  return signBinding(service, order, newKey(), stranger.key, `http://${stranger.domain}`);
}

/** The whole flow in which a developer gets a service. */
export const provisioningRows: readonly Row[] = [
  {
    name: "provisioning",
    what: "a service ordered, bound and checked: the developer's whole flow over three processes, one after the other",
    against: "its RPCs and signatures, each measured alone",
    reach: 1.3,
    unit: "ms",
    ratio: firstBySecond,
    needs: [],
    async prepare(setting) {
      const mesh = await startBenchMesh(setting);
      const { developer, appId } = mesh;
      let number = 0;
      const next = () => `service-${number++}`;
      const order = () =>
        developer.provisionService({ appId, provider: articles, serviceType: "cms-article", serviceId: next() });
      // All processes shall have done each thing often enough to be warm.
      await meanOf(setting.quick ? 1 : 4, order);
      return [
        { name: "flow", measure: (seconds) => meanOf(seconds, order) },
        { name: "parts", measure: (seconds) => partsOf(mesh, seconds, next) },
      ];
    },
  },
];
