import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { RegistryKeysPublishedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import {
  RegistryAnswerSchema,
  RegistryKeyListSchema,
  RegistryKeysSchema,
} from "../../../gen/omi/registry/v1/registry_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { Reason } from "../../../src/core/refusal.ts";
import { followKeys, type TrustedKeys } from "../../../src/directory/registry-keys.ts";
import type { ConfiguredKey } from "../../../src/registry/keyring.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { connectionsTo } from "../../directory/support.ts";
import { FakeClock } from "../../support/clock.ts";
import { claimOf, present } from "../../support/developer.ts";
import { newFolder, removeFolder } from "../../support/files.ts";
import { testKey } from "../../support/keys.ts";
import { type RunningRegistry, registryDomain, runRegistry } from "../../support/registry.ts";

const [first, second, third] = [testKey("registry 1"), testKey("registry 2"), testKey("registry 3")];
const start = 1_790_000_000;

function configured(key = first, notBefore = 0, notAfter = 0): ConfiguredKey {
  return { key, notBefore, notAfter };
}

/** One registry after another on the same file, each with the keys it is given, `seconds` after the start. */
function registries() {
  const folder = newFolder();
  onTestFinished(() => removeFolder(folder));
  return async function withRegistry<T>(
    keys: readonly ConfiguredKey[],
    seconds: number,
    use: (registry: RunningRegistry) => Promise<T>,
  ): Promise<T> {
    const clock = new FakeClock(start + seconds);
    const registry = await runRegistry({ databaseFile: join(folder, "registry.db"), keys, clock });
    try {
      return await use(registry);
    } finally {
      await registry.stop();
    }
  };
}

async function keySet({ registryPart, resolver }: RunningRegistry): Promise<Statement> {
  const { answer } = await resolver.resolveRegistry({});
  const { message } = openAnswer(RegistryAnswerSchema, present(answer));
  expect(message.registryKeys).toEqual(registryPart.keySet());
  return present(message.registryKeys);
}

function versionOf(set: Statement): bigint {
  return openAnswer(RegistryKeysSchema, set).message.version;
}

test("the first key set is the first entry of the log, for everybody to read", async () => {
  const withRegistry = registries();
  await withRegistry([configured()], 0, async (registry) => {
    const { entries } = await registry.log.readLog({});
    expect(entries).toMatchObject([{ index: 1n, effectType: RegistryKeysPublishedSchema.typeName }]);
    expect(entries[0]?.statement).toEqual(await keySet(registry));
  });
});

test("a restart with the same keys publishes nothing", async () => {
  const withRegistry = registries();
  const read = async (registry: RunningRegistry) => {
    const set = await keySet(registry);
    return { set, entries: (await registry.log.readLog({})).entries.length };
  };
  const before = await withRegistry([configured()], 0, read);
  expect(await withRegistry([configured()], 60, read)).toEqual(before);
});

// Each step changes the configured keys; somebody who trusts the first set must be able to follow to the last one.
test.each<[what: string, ...steps: [seconds: number, ...keys: ConfiguredKey[]][]]>([
  ["a key beside the one there is", [0, configured(first)], [60, configured(first), configured(second)]],
  ["a new key before the one there is", [0, configured(first)], [60, configured(second), configured(first)]],
  [
    "a key in the place of another",
    [0, configured(first)],
    [60, configured(first), configured(second)],
    [120, configured(second)],
  ],
  [
    "a third key, when the first has expired",
    [0, configured(first, 0, start + 100), configured(second)],
    [200, configured(first, 0, start + 100), configured(second), configured(third)],
  ],
  [
    "a third key, when the second does not count yet",
    [0, configured(second, start + 500), configured(first)],
    [60, configured(second, start + 500), configured(first), configured(third)],
  ],
  [
    "an end for the key that there is",
    [0, configured(first)],
    [60, configured(second), configured(first, 0, start + 60)],
  ],
])("clients follow to %s", async (_, ...steps) => {
  const withRegistry = registries();
  let trusted: TrustedKeys | undefined;
  for (const [seconds, ...keys] of steps) {
    const set = await withRegistry(keys, seconds, keySet);
    trusted = await followKeys(registryDomain, trusted, set);
  }
  expect(trusted?.version).toBe(BigInt(steps.length));
});

/** Publishes `count` key sets, each with the key before it and a new one, and lists them from then on. */
async function afterRotations<T>(count: number, use: (registry: RunningRegistry) => Promise<T>): Promise<T> {
  const withRegistry = registries();
  const keys = Array.from({ length: count + 1 }, (_, i) => configured(testKey(`registry ${i}`)));
  for (let i = 0; i < count - 1; i++) await withRegistry(keys.slice(i, i + 2), i, keySet);
  return withRegistry(keys.slice(count - 1), count, use);
}

async function listed({ resolver }: RunningRegistry, afterVersion: bigint): Promise<readonly Statement[]> {
  const { answer } = await resolver.listRegistryKeys({ afterVersion });
  const { message } = openAnswer(RegistryKeyListSchema, present(answer));
  expect(message.domain).toBe(registryDomain);
  return message.keySets;
}

test("all key sets can be listed, page by page, and followed", async () => {
  await afterRotations(18, async (registry) => {
    const [page, rest] = [await listed(registry, 0n), await listed(registry, 16n)];
    expect([...page, ...rest].map(versionOf)).toEqual(Array.from({ length: 18 }, (_, i) => BigInt(i + 1)));
    let trusted: TrustedKeys | undefined;
    for (const set of [...page, ...rest]) trusted = await followKeys(registryDomain, trusted, set);
    expect(rest.at(-1)).toEqual(await keySet(registry));
  });
});

test("a client that knows the first key alone follows to the last one", async () => {
  const known = testKey("registry 0");
  await afterRotations(4, async (registry) => {
    const client = connectionsTo({ ...registry, key: known }).registries.forDomain(registryDomain);
    const { header } = await client.resolveRegistry({ fresh: true });
    expect(header.signer).toBe(testKey("registry 3").keyId);
  });
});

test("nothing comes after the last key set", async () => {
  await afterRotations(2, async (registry) => {
    expect((await listed(registry, 1n)).map(versionOf)).toEqual([2n]);
    for (const after of [2n, 3n, 2n ** 63n - 1n, 2n ** 64n - 1n]) expect(await listed(registry, after)).toEqual([]);
  });
});

test.each<[what: string, seconds: number, ...keys: ConfiguredKey[]]>([
  ["no key that is published", 60, configured(third)],
  ["published keys of which none counts", 200, configured(first, 0, start + 100), configured(third)],
])("a registry with %s does not start, and publishes nothing", async (_, seconds, ...keys) => {
  const withRegistry = registries();
  const before = [configured(first, 0, start + 100)];
  await withRegistry(before, 0, keySet);
  await expect(withRegistry(keys, seconds, keySet)).rejects.toThrow();
  expect(versionOf(await withRegistry(before, 50, keySet))).toBe(1n);
});

test("of a key that has ended the public half is enough, and changes nothing in the set", async () => {
  const withRegistry = registries();
  const ended = start + 100;
  const before = await withRegistry([configured(first, 0, ended), configured(second)], 0, keySet);
  const half = { key: { publicKey: first.publicKey }, notBefore: 0, notAfter: ended };
  await withRegistry([half, configured(second)], 200, async (registry) => {
    expect(await keySet(registry)).toEqual(before);
    const { answer } = await registry.resolver.resolveRegistry({});
    expect(openAnswer(RegistryAnswerSchema, present(answer)).header.signer).toBe(second.keyId);
  });
});

test("a key of which only the public half is there never signs, also while it counts", async () => {
  const withRegistry = registries();
  const half = { key: { publicKey: first.publicKey }, notBefore: 0, notAfter: start + 500 };
  await withRegistry([configured(first, 0, start + 500), configured(second)], 0, keySet);
  await withRegistry([half, configured(second), configured(third)], 60, async (registry) => {
    expect(openAnswer(RegistryKeysSchema, await keySet(registry)).header.signer).toBe(second.keyId);
  });
  await expect(withRegistry([half], 120, keySet)).rejects.toThrow();
});

test("a registry without keys does not start", async () => {
  await expect(registries()([], 0, keySet)).rejects.toThrow();
});

test("the first key that counts signs, as time goes by", async () => {
  const withRegistry = registries();
  const keys = [configured(first, 0, start + 100), configured(second, start + 50)];
  await withRegistry(keys, 0, async (registry) => {
    const signer = async () => {
      const { answer } = await registry.resolver.resolveRegistry({ nonce: new Uint8Array(16) });
      return openAnswer(RegistryAnswerSchema, present(answer)).header.signer;
    };
    expect(await signer()).toBe(first.keyId);
    registry.clock.advance(99);
    expect(await signer()).toBe(first.keyId);
    registry.clock.advance(1);
    expect(await signer()).toBe(second.keyId);
  });
});

test("a key that was the registry's once is nobody else's", async () => {
  const withRegistry = registries();
  await withRegistry([configured(first)], 0, keySet);
  await withRegistry([configured(first), configured(second)], 60, keySet);
  await withRegistry([configured(second)], 120, async ({ registry, clock }) => {
    const claim = registry.claimNamespace({ statement: claimOf(clock, "alice", first) });
    await expect(claim).rejects.toMatchObject({ reason: Reason.KEY_IN_USE });
  });
});

test("nothing that expires outlives the key that signed it", async () => {
  const withRegistry = registries();
  const end = start + 100;
  await withRegistry([configured(first, 0, end), configured(second)], 93, async ({ resolver, events, clock }) => {
    const headers = async () => {
      const { answer } = await resolver.resolveRegistry({});
      const { heads } = await events.getHeads({});
      const opened = [openAnswer(RegistryAnswerSchema, present(answer)), openAnswer(HeadsSchema, present(heads))];
      return opened.map(({ header }) => [header.signer, Number(header.expiresAt) - clock.seconds()]);
    };
    expect(await headers()).toEqual([
      [first.keyId, 7],
      [first.keyId, 7],
    ]);
    clock.advance(7);
    expect(await headers()).toEqual([
      [second.keyId, 60],
      [second.keyId, 10],
    ]);
  });
});
