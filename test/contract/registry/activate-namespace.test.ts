import { getOption } from "@bufbuild/protobuf";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { rule } from "../../../gen/omi/options/v1/options_pb.ts";
import { NamespaceActivatedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import {
  NamespaceActivationSchema,
  NamespaceAnswerSchema,
  NamespaceStatus,
} from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { createLogger } from "../../../src/core/log.ts";
import { Reason } from "../../../src/core/refusal.ts";
import type { RegistryOptions } from "../../../src/registry/service.ts";
import { openAnswer, statementId, verifySignature } from "../../../src/statement/statement.ts";
import { claimOf, contactOf, manifestOf, present } from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { registryClients } from "../../support/registry.ts";
import { type FileRegistry, startFileRegistry } from "../support/file-registry.ts";
import { refused } from "../support/refused.ts";

const master = testKey("master alice");

/** A registry with the pending namespace `alice`, and the code for it. */
async function pending(options: Partial<RegistryOptions> = {}) {
  const sent: { namespace: string; email: string; code: string }[] = [];
  const registry = await startFileRegistry({
    policy: { activationPolicy: ActivationPolicy.CODE },
    codeSender: { send: async (message) => void sent.push(message) },
    ...options,
  });
  const { claim, beside } = contactOf("alice@example.com");
  const statement = claimOf(registry.clock, "alice", master, claim);
  await registry.registry.claimNamespace({ statement, ...beside });
  return { registry, statement, sent, code: sent[0]?.code ?? "" };
}

async function activate(registry: FileRegistry, code: string) {
  const { answer } = await registry.registry.activateNamespace({ namespace: "alice", code });
  const opened = openAnswer(NamespaceAnswerSchema, present(answer));
  await verifySignature(opened, registry.key.publicKey);
  return opened;
}

async function statusOf(registry: FileRegistry): Promise<NamespaceStatus | undefined> {
  const { answer } = await registry.resolver.resolveNamespace({ namespace: "alice" });
  return openAnswer(NamespaceAnswerSchema, present(answer)).message.namespace?.status;
}

test("the code that was sent makes the namespace active, by a decision in the log", async () => {
  const { registry, statement, sent, code } = await pending();
  expect(sent).toEqual([{ namespace: "alice", email: "alice@example.com", code }]);
  const { header, message } = await activate(registry, code);
  expect(message.namespace?.status).toBe(NamespaceStatus.ACTIVE);
  expect(header.inReplyTo).toEqual(statementId(statement));

  const { entries } = await registry.log.readLog({ startIndex: 3n });
  expect(entries).toMatchObject([{ effectType: NamespaceActivatedSchema.typeName }]);
  const decision = openAnswer(NamespaceActivationSchema, present(entries[0]?.statement));
  await verifySignature(decision, registry.key.publicKey);
  expect(decision.message.namespace).toBe("alice");
  expect(decision.header.inReplyTo).toEqual(statementId(statement));
  await registry.registry.registerApp({ statement: manifestOf(registry.clock, "alice", master) });
});

test("a code may be typed in lower case with spaces around it", async () => {
  const { registry, code } = await pending();
  expect((await activate(registry, ` ${code.toLowerCase()} `)).message.namespace?.status).toBe(NamespaceStatus.ACTIVE);
});

test("an active namespace stays so, whatever code comes", async () => {
  const { registry, code } = await pending();
  await activate(registry, code);
  const before = registry.contents();
  for (const again of [code, "ANYTHING"]) {
    expect((await activate(registry, again)).message.namespace?.status).toBe(NamespaceStatus.ACTIVE);
  }
  expect(registry.contents()).toEqual(before);
});

test("a code survives a restart", async () => {
  const { registry, code } = await pending();
  const restarted = await registry.restarted();
  expect((await activate(restarted, code)).message.namespace?.status).toBe(NamespaceStatus.ACTIVE);
});

test("the tenth wrong code closes the door for the right one too, for a while, restart or not", async () => {
  const { registry, code } = await pending();
  for (let i = 0; i < 9; i++) await refused(activate(registry, `WRONG${i}`), Reason.ACTIVATION_CODE_INVALID);
  const restarted = await registry.restarted();
  await refused(activate(restarted, "WRONG9"), Reason.ACTIVATION_CODE_INVALID);
  const { metadata } = await refused(activate(restarted, code), Reason.RATE_LIMITED);
  expect(metadata.retry_after_seconds).toBe("3600");
  expect(await statusOf(restarted)).toBe(NamespaceStatus.PENDING);
  restarted.clock.advance(3600);
  await activate(restarted, code);
});

test("nine wrong codes leave room for the right one", async () => {
  const { registry, code } = await pending();
  for (let i = 0; i < 9; i++) await refused(activate(registry, `WRONG${i}`), Reason.ACTIVATION_CODE_INVALID);
  await activate(registry, code);
});

test("many wrong codes at once are counted one by one", async () => {
  const { registry, code } = await pending();
  const guesses = Array.from({ length: 10 }, (_, i) => activate(registry, `WRONG${i}`));
  await Promise.all(guesses.map((guess) => refused(guess, Reason.ACTIVATION_CODE_INVALID)));
  await refused(activate(registry, code), Reason.RATE_LIMITED);
});

test("wrong codes of one source don't keep another from the right one", async () => {
  const { registry, code } = await pending();
  const nodeOptions = { localAddress: "127.0.0.2" };
  const elsewhere = createConnectTransport({ baseUrl: registry.url, httpVersion: "1.1", nodeOptions });
  const stranger = registryClients(elsewhere).registry;
  const guess = (text: string) => stranger.activateNamespace({ namespace: "alice", code: text });
  for (let i = 0; i < 10; i++) await refused(guess(`WRONG${i}`), Reason.ACTIVATION_CODE_INVALID);
  await refused(guess("WRONG10"), Reason.RATE_LIMITED);
  await activate(registry, code);
});

test("a namespace that nobody claimed is unknown", async () => {
  const { registry } = await pending();
  await refused(
    registry.registry.activateNamespace({ namespace: "nobody", code: "ANYTHING" }),
    Reason.NAMESPACE_UNKNOWN,
  );
});

test("a code that cannot be sent leaves the claim pending and the address out of the server's log", async () => {
  const lines: string[] = [];
  const logger = createLogger({
    level: "debug",
    component: "registry",
    destination: { write: (line) => void lines.push(line) },
  });
  const { registry } = await pending({
    logger,
    codeSender: {
      async send({ email, code }) {
        throw new Error(`550 no such user: ${email}, ${code}`, { cause: new Error(email) });
      },
    },
  });
  expect(await statusOf(registry)).toBe(NamespaceStatus.PENDING);
  const errors = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === "error");
  expect(errors).toMatchObject([{ namespace: "alice" }]);
  expect(lines.join("")).not.toContain("alice@example.com");
  expect(lines.join("")).not.toMatch(/[0-9A-Z]{12}/);
});

test("these are all Reasons that the contract gives the RPC by name", () => {
  const { failsWith } = getOption(RegistryService.method.activateNamespace, rule);
  expect(failsWith).toEqual([Reason.NAMESPACE_UNKNOWN, Reason.ACTIVATION_CODE_INVALID]);
});
