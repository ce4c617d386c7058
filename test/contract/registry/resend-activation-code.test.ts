import BetterSqlite3 from "better-sqlite3";
import { describe, expect, test } from "vitest";
import {
  ActivationCodeRequestSchema,
  NamespaceAnswerSchema,
  NamespaceStatus,
} from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, reasonName } from "../../../src/core/refusal.ts";
import type { RegistryOptions } from "../../../src/registry/service.ts";
import { openAnswer, signStatement, statementId, verifySignature } from "../../../src/statement/statement.ts";
import { documentedReasons } from "../../architecture/proto-text.ts";
import { claimOf, contactOf, headerAt, present } from "../../support/developer.ts";
import { testKey, testNonce } from "../../support/keys.ts";
import { dumpOf, type FileRegistry, startFileRegistry } from "../support/file-registry.ts";
import { refused } from "../support/refused.ts";
import { faults, tampered, withHeader } from "../support/tampering.ts";

const master = testKey("master alice");
const other = testKey("master bob");

type Sent = { namespace: string; email: string; code: string };

/** A registry with the pending namespace `alice`, and all codes that it has sent. */
async function pending(options: Partial<RegistryOptions> = {}) {
  const sent: Sent[] = [];
  const registry = await startFileRegistry({
    policy: { activationPolicy: ActivationPolicy.CODE },
    codeSender: { send: async (message) => void sent.push(message) },
    ...options,
  });
  await claim(registry, "alice", master);
  return { registry, sent };
}

async function claim(registry: FileRegistry, namespace: string, key: typeof master): Promise<void> {
  const contact = contactOf(`${namespace}@example.com`);
  await registry.registry.claimNamespace({
    statement: claimOf(registry.clock, namespace, key, contact.claim),
    ...contact.beside,
  });
}

function requestOf({ clock }: FileRegistry, namespace = "alice", key = master): Statement {
  return signStatement(ActivationCodeRequestSchema, { header: headerAt(clock), namespace }, key);
}

async function resend(registry: FileRegistry, statement = requestOf(registry)) {
  const { answer } = await registry.registry.resendActivationCode({ statement });
  const opened = openAnswer(NamespaceAnswerSchema, present(answer));
  await verifySignature(opened, registry.key.publicKey);
  return opened;
}

function activate(registry: FileRegistry, { code }: Pick<Sent, "code">) {
  return registry.registry.activateNamespace({ namespace: "alice", code });
}

async function retryAfter(registry: FileRegistry): Promise<number> {
  return Number((await refused(resend(registry), Reason.RATE_LIMITED)).metadata.retry_after_seconds);
}

test("another code goes to the contact, and the one before no longer counts", async () => {
  const { registry, sent } = await pending();
  registry.clock.advance(60);
  const statement = requestOf(registry);
  const { message, header } = await resend(registry, statement);
  expect(message.namespace).toMatchObject({ namespace: "alice", status: NamespaceStatus.PENDING });
  expect(header.inReplyTo).toEqual(statementId(statement));
  const [first, second] = sent as [Sent, Sent];
  expect(second).toEqual({ ...first, code: expect.not.stringMatching(first.code) });
  await refused(activate(registry, first), Reason.ACTIVATION_CODE_INVALID);
  await activate(registry, second);
});

test("nothing of it stands in the log", async () => {
  const { registry } = await pending();
  registry.clock.advance(60);
  const before = registry.contents();
  await resend(registry);
  expect(registry.contents()).toMatchObject({ logSize: before.logSize, nonces: before.nonces + 1 });
});

test("it opens the door again that ten wrong codes have closed", async () => {
  const { registry, sent } = await pending();
  for (let i = 0; i < 10; i++) await refused(activate(registry, { code: `WRONG${i}` }), Reason.ACTIVATION_CODE_INVALID);
  await refused(activate(registry, sent[0] as Sent), Reason.RATE_LIMITED);
  registry.clock.advance(60);
  await resend(registry);
  await activate(registry, sent[1] as Sent);
});

test("the same bytes again are answered, and send nothing", async () => {
  const { registry, sent } = await pending();
  registry.clock.advance(60);
  const statement = requestOf(registry);
  await resend(registry, statement);
  registry.clock.advance(200);
  const restarted = await registry.restarted();
  expect((await resend(restarted, statement)).message.namespace?.status).toBe(NamespaceStatus.PENDING);
  expect(sent).toHaveLength(2);
  restarted.clock.advance(200);
  await refused(resend(restarted, statement), Reason.TIMESTAMP_TOO_OLD);
});

test("many requests at once send one code", async () => {
  const { registry, sent } = await pending();
  registry.clock.advance(60);
  const requests = Array.from({ length: 10 }, () => resend(registry));
  const outcomes = await Promise.allSettled(requests);
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(sent).toHaveLength(2);
});

test("each further code takes twice as long, up to a day, restart or not", async () => {
  const { registry } = await pending();
  const waits: number[] = [];
  for (let i = 0; i < 13; i++) {
    waits.push(await retryAfter(registry));
    registry.clock.advance(waits.at(-1) ?? 0);
    await resend(registry);
  }
  expect(waits).toEqual([60, 120, 240, 480, 960, 1920, 3840, 7680, 15_360, 30_720, 61_440, 86_400, 86_400]);
  const restarted = await registry.restarted();
  restarted.clock.advance(3600);
  expect(await retryAfter(restarted)).toBe(82_800);
});

test("an active namespace gets no code", async () => {
  const { registry, sent } = await pending();
  await activate(registry, sent[0] as Sent);
  const before = registry.contents();
  expect((await resend(registry)).message.namespace?.status).toBe(NamespaceStatus.ACTIVE);
  expect(sent).toHaveLength(1);
  expect(registry.contents()).toEqual(before);
});

test("a code that can't be sent is the operator's to see; a while later there is another", async () => {
  let broken = true;
  const codes: string[] = [];
  const { registry } = await pending({
    codeSender: {
      async send({ code }) {
        if (broken) throw new Error("550");
        codes.push(code);
      },
    },
  });
  registry.clock.advance(60);
  await resend(registry);
  broken = false;
  registry.clock.advance(120);
  await resend(registry);
  await activate(registry, { code: codes[0] ?? "" });
});

test("a crash before the commit has sent nothing, one after it leaves a code that nobody got", async () => {
  let failAt = "";
  const failpoint = (name: string) => {
    if (name === `resend-activation-code.${failAt}-commit`) throw new Error("crash");
  };
  const { registry, sent } = await pending({ failpoint });
  registry.clock.advance(60);
  for (const side of ["before", "after"]) {
    failAt = side;
    await refused(resend(registry), Reason.INTERNAL);
    expect(sent).toHaveLength(1);
  }
  failAt = "";
  expect(await retryAfter(registry)).toBe(120);
});

describe("is refused, and changes nothing:", () => {
  async function refuses(registry: FileRegistry, statement: Statement, reason: Reason) {
    const before = dumpOf(registry.file);
    await refused(resend(registry, statement), reason);
    expect(dumpOf(registry.file)).toEqual(before);
  }

  test.each(
    Object.entries(faults).map(([name, [reason, tamper]]) => [name, reasonName(reason), reason, tamper] as const),
  )("%s: %s", async (_name, _reason, reason, tamper) => {
    const { registry } = await pending();
    registry.clock.advance(60);
    const draft = { statement: requestOf(registry), keys: { "": master } };
    await refuses(registry, tampered(draft, "", tamper).statement, reason);
  });

  test("times outside of the window, and a nonce that was used", async () => {
    const { registry } = await pending();
    registry.clock.advance(60);
    const at = (seconds: number) =>
      withHeader(requestOf(registry), master, { timestamp: BigInt(registry.clock.seconds() + seconds) });
    await refuses(registry, at(-301), Reason.TIMESTAMP_TOO_OLD);
    await refuses(registry, at(301), Reason.TIMESTAMP_IN_FUTURE);
    const nonce = testNonce();
    await resend(registry, withHeader(requestOf(registry), master, { nonce }));
    registry.clock.advance(120);
    await refuses(registry, withHeader(requestOf(registry), master, { nonce }), Reason.NONCE_REUSED);
  });

  test("somebody else's namespace, and one that nobody claimed", async () => {
    const { registry } = await pending();
    await claim(registry, "bob", other);
    registry.clock.advance(60);
    await refuses(registry, requestOf(registry, "alice", other), Reason.SIGNER_NOT_AUTHORIZED);
    await refuses(registry, requestOf(registry, "nobody"), Reason.NAMESPACE_UNKNOWN);
  });

  test("a contact that was erased", async () => {
    const { registry } = await pending();
    const db = new BetterSqlite3(registry.file);
    db.exec("DELETE FROM contacts");
    db.close();
    await refuses(registry, requestOf(registry), Reason.NOT_FOUND);
  });

  test("a registry that sends no codes", async () => {
    const { registry } = await pending();
    const open = await registry.restarted({
      policy: { activationPolicy: ActivationPolicy.OPEN },
      codeSender: undefined as never,
    });
    await refuses(open, requestOf(open), Reason.UNIMPLEMENTED);
  });
});

test("these are all Reasons that the contract documents beside those of a signed RPC and of the server", () => {
  const documented = documentedReasons(RegistryService.method.resendActivationCode);
  const { NAMESPACE_UNKNOWN, SIGNER_NOT_AUTHORIZED, NOT_FOUND, UNIMPLEMENTED, RATE_LIMITED } = Reason;
  for (const reason of [NAMESPACE_UNKNOWN, SIGNER_NOT_AUTHORIZED, NOT_FOUND, UNIMPLEMENTED, RATE_LIMITED]) {
    expect(documented).toContain(reason);
  }
});
