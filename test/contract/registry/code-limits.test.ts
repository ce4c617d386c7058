import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { ActivationCodeRequestSchema } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { type CodeLimits, defaultCodeLimits, limitPerHour } from "../../../src/registry/code-throttle.ts";
import type { RegistryOptions } from "../../../src/registry/service.ts";
import { signStatement } from "../../../src/statement/statement.ts";
import { claimOf, contactOf, headerAt } from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { type RegistryClients, registryClients, startRegistry } from "../../support/registry.ts";
import { refused } from "../support/refused.ts";

const many = { burst: 1000, intervalSeconds: 1 };

/** A registry that sends codes, the addresses that it sent some to, and claims from several sources. */
async function startSending(limits: Partial<CodeLimits>, options: Partial<RegistryOptions> = {}) {
  const sent: string[] = [];
  const registry = await startRegistry({
    policy: { activationPolicy: ActivationPolicy.CODE },
    codeSender: { send: async ({ email }) => void sent.push(email) },
    codeLimits: { ...defaultCodeLimits, source: many, contact: many, registry: many, ...limits },
    ...options,
  });
  const from = (localAddress: string): RegistryClients =>
    registryClients(
      createConnectTransport({ baseUrl: registry.url, httpVersion: "1.1", nodeOptions: { localAddress } }),
    );
  const claimOfNext = (namespace: string, email: string) => {
    const contact = contactOf(email);
    return {
      statement: claimOf(registry.clock, namespace, testKey(`master ${namespace}`), contact.claim),
      ...contact.beside,
    };
  };
  const claim = (namespace: string, email = `${namespace}@example.org`, source = "127.0.0.1") =>
    from(source).registry.claimNamespace(claimOfNext(namespace, email));
  return { registry, sent, claim, claimOfNext };
}

test("a source's claims that send mail come one by one beyond the burst, and those of others go on", async () => {
  const { registry, sent, claim } = await startSending({ source: { burst: 2, intervalSeconds: 600 } });
  await claim("alice");
  await claim("bob");
  const refusal = await refused(claim("carol"), Reason.RATE_LIMITED);
  expect(refusal.metadata).toEqual({ retry_after_seconds: "600" });
  expect(refusal.nextStep).toContain("600");
  await claim("dave", undefined, "127.0.0.2");
  expect(sent).toEqual(["alice@example.org", "bob@example.org", "dave@example.org"]);
  registry.clock.advance(600);
  await claim("carol");
  expect(sent).toHaveLength(4);
});

test("all sources together have a limit", async () => {
  const { registry, sent, claim } = await startSending({ registry: limitPerHour(8) });
  await claim("alice", undefined, "127.0.0.1");
  await claim("bob", undefined, "127.0.0.2");
  const { metadata } = await refused(claim("carol", undefined, "127.0.0.3"), Reason.RATE_LIMITED);
  expect(metadata.retry_after_seconds).toBe("450");
  registry.clock.advance(450);
  await claim("carol", undefined, "127.0.0.3");
  expect(sent).toHaveLength(3);
});

test("one contact gets few, whoever asks and however it is spelt", async () => {
  const { sent, claim } = await startSending({ contact: { burst: 1, intervalSeconds: 3600 } });
  await claim("alice", "victim@example.org");
  await refused(claim("bob", "VICTIM@example.org", "127.0.0.2"), Reason.RATE_LIMITED);
  expect(sent).toHaveLength(1);
});

test("what is refused or repeated is not counted, and leaves the namespace free", async () => {
  const { registry, sent, claim, claimOfNext } = await startSending({ source: { burst: 2, intervalSeconds: 600 } });
  const request = claimOfNext("alice", "alice@example.org");
  await registry.registry.claimNamespace(request);
  await registry.registry.claimNamespace(request);
  await refused(claim("admin"), Reason.NAME_RESERVED);
  await claim("bob");
  await refused(claim("carol"), Reason.RATE_LIMITED);
  await refused(registry.resolver.resolveNamespace({ namespace: "carol" }), Reason.NAMESPACE_UNKNOWN);
  expect(sent).toHaveLength(2);
});

test("codes that are sent again count, too", async () => {
  const { registry, sent, claim } = await startSending({ source: { burst: 2, intervalSeconds: 6000 } });
  await claim("alice");
  await claim("bob");
  registry.clock.advance(100);
  const statement = signStatement(
    ActivationCodeRequestSchema,
    { header: headerAt(registry.clock), namespace: "alice" },
    testKey("master alice"),
  );
  await refused(registry.registry.resendActivationCode({ statement }), Reason.RATE_LIMITED);
  expect(sent).toHaveLength(2);
});

test("a registry that sends no codes has no limit", async () => {
  const { claim } = await startSending(
    { source: { burst: 1, intervalSeconds: 600 } },
    { policy: { activationPolicy: ActivationPolicy.OPEN } },
  );
  for (const name of ["alice", "bob", "carol"]) await claim(name);
});
