import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { createPinFile } from "../../src/directory/pin-file.ts";
import { createMemoryPinStore, type PinStore } from "../../src/directory/pin-store.ts";
import { followChain } from "../../src/directory/registry-key-chain.ts";
import { followKeys } from "../../src/directory/registry-keys.ts";
import { RegistryTrust } from "../../src/directory/registry-trust.ts";
import { openAnswer } from "../../src/statement/statement.ts";
import { FakeClock } from "../support/clock.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { keyOf, keySetOf, refusalOf } from "./support.ts";

const domain = "registry.mesh.test";
const first = testKey("first");
const second = testKey("second");
const third = testKey("third");
const stranger = testKey("stranger");
const v1 = keySetOf(domain, 1n, [keyOf(first)], first);
const v2 = keySetOf(domain, 2n, [keyOf(first), keyOf(second)], first);
const v3 = keySetOf(domain, 3n, [keyOf(second), keyOf(third)], second);

describe("a registry's key set", () => {
  test("is followed along a chain of signatures", async () => {
    let trusted = await followKeys(domain, undefined, v1);
    for (const next of [v2, v3]) trusted = await followKeys(domain, trusted, next);
    expect(trusted).toMatchObject({ version: 3n, keys: [keyOf(second), keyOf(third)] });
  });

  test("is the same set when it is the same version", async () => {
    const trusted = await followKeys(domain, undefined, v2);
    expect(await followKeys(domain, trusted, v2)).toBe(trusted);
  });

  test.each<[string, Statement | undefined, Statement]>([
    ["goes back", v2, v1],
    ["is another one of the same version", v1, keySetOf(domain, 1n, [keyOf(first), keyOf(second)], first)],
    ["is signed by a key of its own only", v1, keySetOf(domain, 2n, [keyOf(stranger)], stranger)],
    ["is signed by a key that was dropped", v3, keySetOf(domain, 4n, [keyOf(first)], first)],
    ["is another domain's", undefined, keySetOf("crm.mesh.test", 1n, [keyOf(first)], first)],
    ["is signed by none of its keys at first contact", undefined, keySetOf(domain, 1n, [keyOf(first)], second)],
    ["has no version", undefined, keySetOf(domain, 0n, [keyOf(first)], first)],
    ["has no keys", v1, keySetOf(domain, 2n, [], first)],
    ["was changed", v1, { ...v2, signature: v1.signature }],
    ["is something else", v1, { ...v2, type: "omi.registry.v1.RegistryAnswer" }],
    [
      "is signed by a key after its time",
      keySetOf(domain, 1n, [keyOf(first, { notAfter: 1_790_000_000n })], first, 1_789_999_999),
      keySetOf(domain, 2n, [keyOf(second)], first, 1_790_000_000),
    ],
  ])("is refused if it %s", async (_, from, to) => {
    const trusted = from && (await followKeys(domain, undefined, from));
    expect((await refusalOf(followKeys(domain, trusted, to))).reason).toBe(Reason.ANSWER_INVALID);
  });
});

/** A client of a registry that has `served` as its key set. */
function client(
  entry: MessageInitShape<typeof DirectoryEntrySchema>,
  served: () => Statement,
  pinStore: PinStore = createMemoryPinStore(),
  listed: () => readonly Statement[] = () => [],
) {
  const clock = new FakeClock();
  const calls = { count: 0 };
  const readEntry = async () =>
    create(DirectoryEntrySchema, { domain, party: Party.REGISTRY, baseUrl: `https://${domain}`, ...(entry as object) });
  const fetchKeys = async () => {
    calls.count++;
    return served();
  };
  const lists = { count: 0 };
  // Two sets a page.
  const listKeys = async (after: bigint) => {
    lists.count++;
    return listed()
      .filter((set) => versionOf(set) > after)
      .slice(0, 2);
  };
  const trust = new RegistryTrust({ domain, clock, pinStore, readEntry, fetchKeys, listKeys });
  return { trust, clock, calls, lists, keyAt: (key: { keyId: string }) => trust.keyAt(key.keyId, clock.seconds()) };
}

describe("a client of a registry", () => {
  test("trusts the keys of a preset entry without asking", async () => {
    const { keyAt, calls } = client({ keys: [presetKey(first)] }, () => v1);
    expect(await keyAt(first)).toEqual(first.publicKey);
    expect(calls.count).toBe(0);
  });

  test("follows to a new key when an answer is signed by it, and asks at most every 10 seconds", async () => {
    let served = v1;
    const { keyAt, calls, clock } = client({ keys: [presetKey(first)] }, () => served);
    expect(await keyAt(second)).toBeUndefined();
    expect(await keyAt(second)).toBeUndefined();
    expect(calls.count).toBe(1);
    clock.advance(10);
    served = v2;
    expect(await keyAt(second)).toEqual(second.publicKey);
  });

  test("follows to a new key also when the clock was set back since it last asked", async () => {
    let served = v1;
    const { keyAt, clock } = client({ keys: [presetKey(first)] }, () => served);
    expect(await keyAt(second)).toBeUndefined();
    clock.advance(-3600);
    served = v2;
    expect(await keyAt(second)).toEqual(second.publicKey);
  });

  test("trusts at first contact what the registry's document states, and keeps it", async () => {
    const pinStore = createMemoryPinStore();
    expect(await client({ registryKeys: v1 }, () => v1, pinStore).keyAt(first)).toEqual(first.publicKey);
    const forged = keySetOf(domain, 9n, [keyOf(stranger)], stranger);
    const later = client({ registryKeys: forged }, () => forged, pinStore);
    expect((await refusalOf(later.keyAt(stranger))).reason).toBe(Reason.ANSWER_INVALID);
    expect(await later.keyAt(first)).toEqual(first.publicKey);
  });

  test("does not keep a first contact over plain http", async () => {
    const pinStore = createMemoryPinStore();
    expect(await client({ baseUrl: `http://${domain}` }, () => v1, pinStore).keyAt(first)).toEqual(first.publicKey);
    expect(pinStore.load(domain)).toBeUndefined();
  });

  test("drops a pin that began with other keys than the configuration states now", async () => {
    const pinStore = createMemoryPinStore();
    const before = client({ keys: [presetKey(first)] }, () => v2, pinStore);
    await before.keyAt(second);
    expect(pinStore.load(domain)?.version).toBe(2n);
    const after = client({ keys: [presetKey(stranger)] }, () => v2, pinStore);
    expect(await after.keyAt(stranger)).toEqual(stranger.publicKey);
  });
});

describe("a client that was away", () => {
  const keys = Array.from({ length: 300 }, (_, i) => testKey(`registry ${i}`));
  const key = (i: number) => keys[i] as (typeof keys)[number];
  const rotation = (version: number) =>
    keySetOf(domain, BigInt(version), [keyOf(key(version - 1)), keyOf(key(version))], key(version - 1));
  /** Each set has the last key of the one before it, and a new one. */
  const rotations = keys.slice(1).map((_, i) => rotation(i + 1));
  const upTo = (version: number) => rotations.slice(0, version);

  /** It trusts version 1; then the registry has `sets`. */
  async function away(sets: readonly Statement[], pinStore = createMemoryPinStore()) {
    let served: readonly Statement[] = upTo(1);
    const current = () => served.at(-1) as Statement;
    const all = client({ registryKeys: rotation(1) }, current, pinStore, () => served);
    await all.keyAt(key(0));
    served = sets;
    all.clock.advance(10);
    return { ...all, pinStore };
  }

  test("for three rotations follows set by set, and keeps the last one", async () => {
    const { keyAt, pinStore } = await away(upTo(4));
    expect(await keyAt(key(4))).toEqual(key(4).publicKey);
    expect(pinStore.load(domain)).toMatchObject({ version: 4n, keys: [keyOf(key(3)), keyOf(key(4))] });
    expect(await keyAt(key(0))).toBeUndefined();
  });

  test("for one rotation asks for no list", async () => {
    const { keyAt, lists } = await away(upTo(2));
    expect(await keyAt(key(2))).toEqual(key(2).publicKey);
    expect(lists.count).toBe(0);
  });

  test.each<[string, readonly Statement[]]>([
    ["lacks a set", [rotation(1), rotation(3), rotation(4)]],
    ["has a set by a stranger", [rotation(1), keySetOf(domain, 2n, [keyOf(key(2))], stranger), rotation(3)]],
    [
      "has a set whose signature is another's",
      [rotation(1), { ...rotation(2), signature: rotation(3).signature }, rotation(3), rotation(4)],
    ],
    ["has a set of another domain", [rotation(1), keySetOf("crm.mesh.test", 2n, [keyOf(key(2))], key(1)), rotation(3)]],
    ["ends with a set by a stranger", [...upTo(3), keySetOf(domain, 4n, [keyOf(stranger)], stranger)]],
    ["is empty", [rotation(4)]],
  ])("refuses a chain that %s, and trusts what it did before", async (_, sets) => {
    const { keyAt, pinStore } = await away(sets);
    expect((await refusalOf(keyAt(key(4)))).reason).toBe(Reason.ANSWER_INVALID);
    expect(pinStore.load(domain)?.version).toBe(1n);
    expect(await keyAt(key(1))).toEqual(key(1).publicKey);
  });

  test("refuses a list that goes in circles", async () => {
    const trusted = await followKeys(domain, undefined, rotation(1));
    const chain = followChain(domain, trusted, rotation(9), async () => [rotation(2)]);
    expect((await refusalOf(chain)).reason).toBe(Reason.ANSWER_INVALID);
  });

  test("follows at most 256 sets at once, and goes on from there the next time", async () => {
    const { keyAt, clock, lists } = await away(upTo(290));
    expect(await keyAt(key(290))).toBeUndefined();
    expect(await keyAt(key(257))).toEqual(key(257).publicKey);
    expect(lists.count).toBeLessThanOrEqual(129);
    clock.advance(10);
    expect(await keyAt(key(290))).toEqual(key(290).publicKey);
  });

  test("begins with the first set that a preset key signed", async () => {
    const pinStore = createMemoryPinStore();
    const { keyAt } = client(
      { keys: [presetKey(key(2))] },
      () => rotation(6),
      pinStore,
      () => upTo(6),
    );
    expect(await keyAt(key(6))).toEqual(key(6).publicKey);
    expect(pinStore.load(domain)?.version).toBe(6n);
  });
});

describe("a pin file", () => {
  test("remembers across restarts", () => {
    const path = join(temporaryFolder(), "registries.json");
    const pin = { domain, anchor: "first-contact", version: 2n, keys: [keyOf(first, { notAfter: 5n }), keyOf(second)] };
    createPinFile(path).save({ ...pin, version: 1n });
    createPinFile(path).save(pin);
    createPinFile(path).save({ ...pin, domain: "other.mesh.test" });
    expect(createPinFile(path).load(domain)).toEqual(pin);
    expect(createPinFile(path).load("crm.mesh.test")).toBeUndefined();
  });

  test("keeps what one registry states exactly, whatever it is, and so never stands in the way of another's keys", () => {
    const path = join(temporaryFolder(), "registries.json");
    const odd = { domain, anchor: "first-contact", version: 2n ** 64n - 1n };
    const pin = { ...odd, keys: [keyOf(first, { notBefore: -1n, notAfter: 2n ** 63n - 1n })] };
    createPinFile(path).save(pin);
    createPinFile(path).save({ ...pin, domain: "other.mesh.test", version: 1n });
    expect(createPinFile(path).load(domain)).toEqual(pin);
    expect(createPinFile(path).load("other.mesh.test")).toEqual({ ...pin, domain: "other.mesh.test", version: 1n });
  });

  test("that is damaged gives no answer, rather than a new first contact", () => {
    const path = join(temporaryFolder(), "registries.json");
    writeFileSync(path, "{}");
    expect(() => createPinFile(path).load(domain)).toThrow();
  });
});

function versionOf(set: Statement): bigint {
  return openAnswer(RegistryKeysSchema, set).message.version;
}

function presetKey({ publicKey }: { publicKey: Uint8Array }) {
  return { publicKey, algorithm: KeyAlgorithm.ED25519 };
}
