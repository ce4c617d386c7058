import { expect, test } from "vitest";
import { NamespaceClaimedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { NamespaceAnswerSchema, NamespaceStatus } from "../../../gen/omi/registry/v1/namespace_pb.ts";
import { ActivationPolicy } from "../../../gen/omi/registry/v1/registry_pb.ts";
import { RegistryService } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { toHex, utf8 } from "../../../src/core/bytes.ts";
import { isRefusal, Reason } from "../../../src/core/refusal.ts";
import { type SigningKey, sha256 } from "../../../src/statement/crypto.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { bindTestService, claimOf, contactOf, present, registerTestApp } from "../../support/developer.ts";
import { testKey } from "../../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../../support/registry.ts";
import { dumpOf, startFileRegistry } from "../support/file-registry.ts";
import { badKey } from "../support/records.ts";
import { refused } from "../support/refused.ts";
import { describeSignedRpc, type World } from "../support/signed-rpc.ts";
import type { Draft } from "../support/tampering.ts";

interface ClaimWorld extends World {
  namespace: string;
  master: SigningKey;
}

type Fields = Parameters<typeof claimOf>[3];

const guardians = [testKey("guardian 1").publicKey, testKey("guardian 2").publicKey];

function draftOf({ registry, namespace, master }: ClaimWorld, fields: Fields = {}): Draft {
  const message = {
    guardianPublicKeys: guardians,
    metadata: { website: "https://alice.example", organization: "Alice & Co." },
    ...fields,
  };
  return { statement: claimOf(registry.clock, namespace, master, message), keys: { "": master } };
}

function claim(registry: RunningRegistry, namespace: string, master: SigningKey) {
  return registry.registry.claimNamespace({ statement: claimOf(registry.clock, namespace, master) });
}

let namespaces = 0;

describeSignedRpc<ClaimWorld>({
  method: RegistryService.method.claimNamespace,
  effect: NamespaceClaimedSchema,
  private: false,
  async prepare(registry) {
    const namespace = `alice-${++namespaces}`;
    return { registry, namespace, master: testKey(`master ${namespace}`) };
  },
  draft: (world) => draftOf(world),
  outcome: ({ registry, namespace, master }) => ({
    answer: {
      namespace: {
        namespace,
        status: NamespaceStatus.ACTIVE,
        masterPublicKey: master.publicKey,
        masterKeyId: master.keyId,
        guardianPublicKeys: guardians,
        contactCommitment: new Uint8Array(),
        metadata: { website: "https://alice.example", organization: "Alice & Co." },
        claimedAt: BigInt(registry.clock.seconds()),
      },
    },
  }),
  refusals: [
    {
      name: "a namespace that is claimed",
      reason: Reason.NAMESPACE_TAKEN,
      async arrange({ registry, namespace }) {
        await claim(registry, namespace, testKey(`first ${namespace}`));
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a namespace that differs from a claimed one only in - and _",
      reason: Reason.NAMESPACE_TAKEN,
      async arrange({ registry, namespace }) {
        await claim(registry, namespace.replace("-", "_"), testKey(`first ${namespace}`));
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a reserved namespace",
      reason: Reason.NAME_RESERVED,
      field: "namespace_claim",
      draft: (world) => draftOf({ ...world, namespace: "well_known" }),
    },
    {
      name: "a Master key of small order",
      reason: Reason.KEY_INVALID,
      field: "public_key",
      draft: (world) => draftOf(world, { publicKey: badKey }),
    },
    {
      name: "a Guardian key of small order",
      reason: Reason.KEY_INVALID,
      field: "guardian_public_keys[1]",
      draft: (world) => draftOf(world, { guardianPublicKeys: [present(guardians[0]), badKey] }),
    },
    {
      name: "a Master key that has a namespace",
      reason: Reason.KEY_IN_USE,
      field: "public_key",
      async arrange({ registry, namespace, master }) {
        await claim(registry, `${namespace}-first`, master);
        return undefined;
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "a Master key that is a Service key",
      reason: Reason.KEY_IN_USE,
      field: "public_key",
      async arrange({ registry }) {
        const { key } = await bindTestService(registry, await registerTestApp(registry));
        return { master: key };
      },
      draft: (world) => draftOf(world),
    },
    {
      name: "the registry's own key as Master key",
      reason: Reason.KEY_IN_USE,
      field: "public_key",
      draft: (world) => draftOf({ ...world, master: world.registry.key }),
    },
    {
      name: "a Guardian key that repeats",
      reason: Reason.KEY_IN_USE,
      field: "guardian_public_keys",
      draft: (world) => draftOf(world, { guardianPublicKeys: [...guardians, present(guardians[0])] }),
    },
    {
      name: "the Master key as Guardian key",
      reason: Reason.KEY_IN_USE,
      field: "guardian_public_keys",
      draft: (world) => draftOf(world, { guardianPublicKeys: [world.master.publicKey] }),
    },
    {
      name: "a key in the claim that is not the signer's",
      reason: Reason.SIGNER_UNKNOWN,
      field: "header.signer",
      draft: (world) => draftOf(world, { publicKey: testKey("somebody else").publicKey }),
    },
    {
      name: "a key of no algorithm",
      reason: Reason.FIELD_INVALID,
      field: "algorithm",
      draft: (world) => draftOf(world, { algorithm: 0 }),
    },
    {
      name: "a contact that is not the one of the commitment",
      reason: Reason.FIELD_MISMATCH,
      field: "contact_commitment",
      draft: (world) => ({
        ...draftOf(world, contactOf("alice@example.com").claim),
        beside: contactOf("alice@example.org").beside,
      }),
    },
    {
      name: "a contact without commitment",
      reason: Reason.FIELD_MISMATCH,
      field: "contact_commitment",
      draft: (world) => ({ ...draftOf(world), beside: contactOf("alice@example.com").beside }),
    },
    {
      name: "a commitment without contact",
      reason: Reason.FIELD_MISMATCH,
      field: "contact_commitment",
      draft: (world) => draftOf(world, contactOf("alice@example.com").claim),
    },
    {
      name: "a contact without salt, whose commitment would give it away",
      reason: Reason.FIELD_INVALID,
      field: "contact_salt",
      draft: (world) => ({
        ...draftOf(world, { contactCommitment: sha256(utf8("alice@example.com")) }),
        beside: { contactEmail: "alice@example.com" },
      }),
    },
    {
      name: "a salt without contact",
      reason: Reason.FIELD_INVALID,
      field: "contact_email",
      draft: (world) => {
        const contactSalt = new Uint8Array(16).fill(7);
        return { ...draftOf(world, { contactCommitment: sha256(contactSalt) }), beside: { contactSalt } };
      },
    },
    {
      name: "no contact where a code must be sent",
      reason: Reason.FIELD_INVALID,
      field: "contact_email",
      options: { policy: { activationPolicy: ActivationPolicy.CODE } },
      draft: (world) => draftOf(world),
    },
  ],
});

test("of two who claim the same name together one has it", async () => {
  const registry = await startRegistry();
  const outcomes = await Promise.allSettled(
    ["alice", "bob"].map((name) => claim(registry, "my-shop", testKey(`master ${name}`))),
  );
  const refusals = outcomes.filter((outcome) => outcome.status === "rejected").map(({ reason }) => reason);
  expect(refusals).toHaveLength(1);
  expect(isRefusal(refusals[0], Reason.NAMESPACE_TAKEN)).toBe(true);
});

test("the contact's address stays out of the log and of all that the registry says", async () => {
  const registry = await startFileRegistry();
  const { claim, beside } = contactOf("alice@example.com");
  const statement = claimOf(registry.clock, "alice", testKey("master alice"), claim);
  const { answer } = await registry.registry.claimNamespace({ statement, ...beside });
  const { message } = openAnswer(NamespaceAnswerSchema, present(answer));
  expect(message.namespace?.contactCommitment).toEqual(claim.contactCommitment);

  const { entries } = await registry.log.readLog({});
  const said = [present(answer).data, ...entries.flatMap(({ effect, statement }) => [effect, statement?.data])];
  for (const secret of [utf8("alice@example.com"), beside.contactSalt]) {
    for (const bytes of said) expect(toHex(bytes ?? new Uint8Array())).not.toContain(toHex(secret));
    const holders = dumpOf(registry.file).filter((line) => line.includes(toHex(secret)) || line.includes("alice@"));
    expect(holders.map((line) => JSON.parse(line)[0])).toEqual(["contacts"]);
  }
});

test("a claim under the code policy waits, and its repetition sends no second code", async () => {
  const codes: string[] = [];
  const registry = await startRegistry({
    policy: { activationPolicy: ActivationPolicy.CODE },
    codeSender: { send: async ({ code }) => void codes.push(code) },
  });
  const { claim, beside } = contactOf("alice@example.com");
  const request = { statement: claimOf(registry.clock, "alice", testKey("master alice"), claim), ...beside };
  for (const _ of [1, 2]) {
    const { answer } = await registry.registry.claimNamespace(request);
    const { message } = openAnswer(NamespaceAnswerSchema, present(answer));
    expect(message.namespace?.status).toBe(NamespaceStatus.PENDING);
  }
  expect(codes).toHaveLength(1);
  await refused(
    registry.registry.claimNamespace({ ...request, statement: claimOf(registry.clock, "alice", testKey("2"), claim) }),
    Reason.NAMESPACE_TAKEN,
  );
  expect(codes).toHaveLength(1);
});
