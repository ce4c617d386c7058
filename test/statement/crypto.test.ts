import { inspect } from "node:util";
import { Point } from "@noble/ed25519";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromBase64Url, fromHex, toHex, utf8 } from "../../src/core/bytes.ts";
import type { StatementCrypto } from "../../src/statement/crypto.ts";
import * as chosenCrypto from "../../src/statement/crypto.ts";
import * as nodeCrypto from "../../src/statement/crypto-node.ts";
import * as portableCrypto from "../../src/statement/crypto-portable.ts";
import { hasCanonicalY, isSmallOrder } from "../../src/statement/ed25519-form.ts";
import { isKeyId, keyIdOf } from "../../src/statement/key-id.ts";
import { isOnCurve } from "../../src/statement/on-curve.ts";

const implementations: [string, StatementCrypto][] = [
  ["node", nodeCrypto],
  ["portable", portableCrypto],
];

const SEED = new Uint8Array(32).map((_, i) => i + 1);

test("Node runs the implementation on node:crypto", () => {
  expect(chosenCrypto.verify).toBe(nodeCrypto.verify);
});

describe.each(implementations)("%s", (_, crypto) => {
  test("hashes with SHA-256", () => {
    // FIPS 180-2 appendix B.1.
    expect(toHex(crypto.sha256(utf8("abc")))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(crypto.sha256(new Uint8Array()).constructor).toBe(Uint8Array);
  });

  test("verifies what it signs", async () => {
    const key = crypto.createSigningKey(SEED);
    const message = utf8("a message");
    expect(await crypto.verify(key.publicKey, message, key.sign(message))).toBe(true);
    expect(await crypto.verify(key.publicKey, utf8("another"), key.sign(message))).toBe(false);
    expect(key.sign(message).constructor).toBe(Uint8Array);
    const aside = await key.signAside(message);
    expect(aside).toEqual(key.sign(message));
    expect(aside.constructor).toBe(Uint8Array);
  });

  test("names a key by the thumbprint of its JWK", () => {
    const key = crypto.createSigningKey(SEED);
    expect(key.keyId).toBe(keyIdOf(key.publicKey));
  });

  test("takes seeds of 32 bytes alone", () => {
    expect(() => crypto.createSigningKey(SEED.slice(1))).toThrow(RangeError);
    expect(() => crypto.createSigningKey(new Uint8Array(64))).toThrow(RangeError);
  });

  test("gives the seed to exportSeed() and to nobody else", () => {
    const key = crypto.createSigningKey(SEED);
    const seed = crypto.exportSeed(key);
    expect(seed).toEqual(SEED);
    expect(inspect(key, { depth: Infinity, showHidden: true })).not.toContain(Buffer.from(SEED).toString("base64url"));
    expect(Object.keys(key)).toEqual(["publicKey", "keyId", "sign", "signAside"]);
    expect(() => crypto.exportSeed({ ...key })).toThrow(TypeError);
  });

  test("keeps its key when the caller's bytes change", () => {
    const seed = SEED.slice();
    const key = crypto.createSigningKey(seed);
    seed.fill(0);
    crypto.exportSeed(key).fill(0);
    expect(crypto.exportSeed(key)).toEqual(SEED);
    expect(key.sign(utf8("x"))).toEqual(crypto.createSigningKey(SEED).sign(utf8("x")));
  });

  test("leaves the caller's bytes as they are, also in a Buffer, whose slices are views", async () => {
    const seed = Buffer.from(SEED);
    const { publicKey, sign } = crypto.createSigningKey(seed);
    const message = utf8("x");
    const parts = [Buffer.from(publicKey).fill(0xff, 31), Buffer.from(sign(message)).fill(0xff, 31, 32), seed];
    const before = parts.map((part) => toHex(part));
    await crypto.verify(parts[0] ?? seed, message, parts[1] ?? seed);
    crypto.publicKeyProblem(parts[0] ?? seed);
    expect(parts.map((part) => toHex(part))).toEqual(before);
    seed.fill(0);
    expect(crypto.createSigningKey(SEED).sign(message)).toEqual(sign(message));
  });

  test("says what is wrong with a key", () => {
    const neutral = new Uint8Array(32).fill(1, 0, 1);
    expect(crypto.publicKeyProblem(neutral.slice(1))).toBe("length");
    expect(crypto.publicKeyProblem(new Uint8Array(32).fill(0xff))).toBe("not_canonical");
    expect(crypto.publicKeyProblem(neutral)).toBe("small_order");
    expect(crypto.publicKeyProblem(new Uint8Array(32).fill(2, 0, 1))).toBe("not_on_curve");
    const { publicKey } = crypto.createSigningKey(SEED);
    expect(crypto.publicKeyProblem(publicKey)).toBeUndefined();
    expect(crypto.publicKeyProblem(publicKey)).toBeUndefined();
  });
});

test("every y coordinate is taken for a point of the curve where noble finds one", () => {
  const points = fc.uint8Array({ minLength: 32, maxLength: 32 }).filter((point) => {
    return hasCanonicalY(point) && !isSmallOrder(point);
  });
  let onCurve = 0;
  const agree = (point: Uint8Array) => {
    const expected = isPointOfNoble(point);
    if (expected) onCurve++;
    expect(isOnCurve(point)).toBe(expected);
  };
  fc.assert(fc.property(points, agree), { numRuns: 1000 });
  // About half of all.
  expect(onCurve).toBeGreaterThan(300);
  expect(onCurve).toBeLessThan(700);
  // Small ones and those just below p, where the Jacobi symbol meets common factors and long runs of zeros.
  for (let y = 2; y < 200; y++) {
    for (const zeros of [0, 1, 8, 23]) {
      const low = new Uint8Array(32);
      low[zeros] = y;
      agree(low);
      const high = new Uint8Array(32).fill(0xff);
      high.set([0xec - y], 0);
      high[31] = 0x7f;
      agree(high);
    }
  }
});

function isPointOfNoble(point: Uint8Array): boolean {
  try {
    Point.fromBytes(point);
    return true;
  } catch {
    return false;
  }
}

describe("a key ID", () => {
  test("is the thumbprint of RFC 8037 appendix A.3", () => {
    const publicKey = fromBase64Url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo") ?? new Uint8Array();
    expect(keyIdOf(publicKey)).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
  });

  test("has one text", () => {
    expect(isKeyId("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")).toBe(true);
    expect(isKeyId("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4l")).toBe(false);
    expect(isKeyId("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4")).toBe(false);
    expect(isKeyId("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k=")).toBe(false);
    expect(isKeyId("kPrK/qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")).toBe(false);
  });
});

describe("the implementations agree", () => {
  const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const messages = fc.uint8Array({ maxLength: 200 });

  test("on keys and signatures", async () => {
    await fc.assert(
      fc.asyncProperty(seeds, messages, async (seed, message) => {
        const [node, portable] = [nodeCrypto.createSigningKey(seed), portableCrypto.createSigningKey(seed)];
        expect(node.publicKey).toEqual(portable.publicKey);
        expect(node.keyId).toBe(portable.keyId);
        expect(node.sign(message)).toEqual(portable.sign(message));
        expect(await nodeCrypto.verify(node.publicKey, message, portable.sign(message))).toBe(true);
        expect(await portableCrypto.verify(node.publicKey, message, node.sign(message))).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  test("on what was changed", async () => {
    const change = fc.record({
      part: fc.constantFrom("publicKey", "message", "signature"),
      at: fc.nat(63),
      mask: fc.integer({ min: 0, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(seeds, fc.array(change, { maxLength: 3 }), async (seed, changes) => {
        const key = nodeCrypto.createSigningKey(seed);
        const message = new Uint8Array(64);
        const parts = { publicKey: key.publicKey.slice(), message, signature: key.sign(message) };
        for (const { part, at, mask } of changes) {
          const bytes = parts[part as keyof typeof parts];
          bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ mask;
        }
        await expectAgreement(parts.publicKey, parts.message, parts.signature);
      }),
      { numRuns: 100 },
    );
  });

  test("on any bytes, of any length", async () => {
    const points = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.constantFrom(...EDGE_POINTS),
    );
    const scalars = fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.constantFrom(...EDGE_POINTS));
    await fc.assert(
      fc.asyncProperty(points, points, scalars, async (publicKey, r, s) => {
        await expectAgreement(publicKey, utf8("message"), new Uint8Array([...r, ...s]));
      }),
      { numRuns: 300 },
    );
  });

  async function expectAgreement(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<void> {
    expect(nodeCrypto.publicKeyProblem(publicKey)).toBe(portableCrypto.publicKeyProblem(publicKey));
    expect(await nodeCrypto.verify(publicKey, message, signature)).toBe(
      await portableCrypto.verify(publicKey, message, signature),
    );
  }
});

// Little-endian numbers around 0, p and the group order, and points of order 8.
const EDGE_POINTS = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  `${"00".repeat(31)}80`,
  `ecffffff${"ff".repeat(27)}7f`,
  `edffffff${"ff".repeat(27)}7f`,
  `eeffffff${"ff".repeat(27)}7f`,
  "ff".repeat(32),
  `edd3f55c1a631258d69cf7a2def9de14${"00".repeat(15)}10`,
  `ecd3f55c1a631258d69cf7a2def9de14${"00".repeat(15)}10`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
].map((hex) => fromHex(hex) ?? new Uint8Array());
