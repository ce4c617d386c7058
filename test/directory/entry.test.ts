import { describe, expect, test } from "vitest";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { Reason } from "../../src/core/refusal.ts";
import { currentProviderKeyId, parseEntry, providerKey } from "../../src/directory/entry.ts";
import { testKey } from "../support/keys.ts";
import { entryJson, keyOf, keySetOf, parseConfig, refusalOf } from "./support.ts";

const key = testKey("provider");
const provider = {
  domain: "article.mesh.test",
  party: Party.SERVICE_PROVIDER,
  baseUrl: "https://rpc.article.mesh.test",
  keys: [{ publicKey: key.publicKey, algorithm: KeyAlgorithm.ED25519 }],
};
const registry = { domain: "registry.mesh.test", party: Party.REGISTRY, baseUrl: "https://registry.mesh.test" };

describe("a directory entry", () => {
  test("is read from its JSON form", () => {
    expect(parseEntry(entryJson(provider), { from: "discovered" })).toMatchObject(provider);
  });

  test.each([
    ["no JSON form of an entry", { domain: 7 }, Reason.MALFORMED],
    ["no domain", entryJson({ ...provider, domain: "" }), Reason.FIELD_INVALID],
    ["no party", entryJson({ ...provider, party: Party.UNSPECIFIED }), Reason.FIELD_INVALID],
    ["plain http", entryJson({ ...provider, baseUrl: "http://article.mesh.test" }), Reason.FIELD_INVALID],
    ["another domain's URL", entryJson({ ...provider, baseUrl: "https://mesh.test" }), Reason.ENDPOINT_NOT_ALLOWED],
    [
      "a URL that only ends like the domain",
      entryJson({ ...provider, baseUrl: "https://notarticle.mesh.test" }),
      Reason.ENDPOINT_NOT_ALLOWED,
    ],
    [
      "a key of small order",
      entryJson({ ...provider, keys: [{ publicKey: new Uint8Array(32), algorithm: KeyAlgorithm.ED25519 }] }),
      Reason.KEY_INVALID,
    ],
    ["keys that a registry states itself", entryJson({ ...registry, keys: provider.keys }), Reason.FIELD_INVALID],
    [
      "another statement in place of the key set",
      entryJson({
        ...registry,
        registryKeys: { ...keySetOf(registry.domain, 1n, [keyOf(key)], key), type: "omi.registry.v1.Suspend" },
      }),
      Reason.TYPE_MISMATCH,
    ],
  ])("is refused with %s", async (_, json, reason) => {
    expect((await refusalOf(() => parseEntry(json, { from: "discovered" }))).reason).toBe(reason);
  });

  test("may have fields of a later version, unless it is preset", async () => {
    const json = { ...(entryJson(provider) as object), later: true };
    expect(parseEntry(json, { from: "discovered" }).domain).toBe(provider.domain);
    expect((await refusalOf(() => parseEntry(json, { from: "preset" }))).reason).toBe(Reason.MALFORMED);
  });
});

test("a Provider key counts in its time only", () => {
  const next = testKey("next provider");
  const entry = parseEntry(
    entryJson({ ...provider, keys: [keyOf(key, { notAfter: 2000n }), keyOf(next, { notBefore: 1000n })].map(bare) }),
    { from: "discovered" },
  );
  expect(providerKey(entry, key.keyId, 1999)).toEqual(key.publicKey);
  expect(providerKey(entry, key.keyId, 2000)).toBeUndefined();
  expect(providerKey(entry, next.keyId, 999)).toBeUndefined();
  expect(providerKey(entry, testKey("stranger").keyId, 1500)).toBeUndefined();
  expect(currentProviderKeyId(entry, 999)).toBe(key.keyId);
  expect(currentProviderKeyId(entry, 1000)).toBe(next.keyId);
});

describe("a client configuration", () => {
  const plain = entryJson({ ...provider, baseUrl: "http://article.mesh.test" });

  test("has plain http in development only", () => {
    expect(parseConfig({ development: true, directory: [plain] }).directory).toHaveLength(1);
    expect(() => parseConfig({ directory: [plain] })).toThrow();
  });

  test.each([
    ["an unknown setting", { hots: {} }],
    ["a domain twice", { development: true, directory: [plain, plain] }],
    ["an entry with a mistake", { directory: [{ domain: "article.mesh.test" }] }],
  ])("is refused with %s", (_, config) => {
    expect(() => parseConfig(config)).toThrow();
  });
});

function bare({ publicKey, algorithm, notBefore, notAfter }: ReturnType<typeof keyOf>) {
  return { publicKey, algorithm, notBefore, notAfter };
}
