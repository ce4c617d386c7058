import { Point } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, fromHex, toHex, utf8 } from "../../../src/core/bytes.ts";
import { createSigningKey, sha256 } from "../../../src/statement/crypto.ts";
import { hexMembers, invalid, keyOf, seedOf, type VectorFile, valid } from "./vector.ts";

const ROOM = "ed25519";

/** Keys and signatures at every edge of the rule, most of which some library in use accepts. */
export function ed25519Vectors(): VectorFile[] {
  return [...validSignatures(), ...brokenSignatures(), ...craftedSignatures(), ...badKeys()];
}

type Signed = { publicKey: Uint8Array; message: Uint8Array; signature: Uint8Array };

const { n: L, p: P } = Point.CURVE();
const B = Point.BASE;
const NEUTRAL = Point.ZERO;

// A point of order 8: any point times L keeps only its part of small order.
const ORDER_8 = pointOfOrder8();
const ORDER_4 = ORDER_8.double();
const ORDER_2 = ORDER_4.double();

function validSignatures(): VectorFile[] {
  const files = [
    ["rfc8032_test_1", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", ""],
    ["rfc8032_test_2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72"],
    ["rfc8032_test_3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82"],
  ].map(([name = "", seed = "", message = ""]) =>
    signed(name, `RFC 8032 section 7.1, ${name.slice(8).replace("_", " ")}`, bytes(seed), bytes(message)),
  );
  files.push(
    signed(
      "one_block",
      "a message of 128 bytes, the block of SHA-512",
      seedOf("one block"),
      new Uint8Array(128).fill(0x5a),
    ),
    signed(
      "long_message",
      "a message of 1,023 bytes",
      seedOf("long"),
      new Uint8Array(1023).map((_, i) => i),
    ),
    valid(ROOM, "mixed_order_key", {
      description:
        "The key has a part of order 8, but the equation holds without the cofactor. Nothing in the rule is broken.",
      ...members(mixedOrderKey((k) => k % 8n === 0n)),
    }),
  );
  return files;
}

function signed(name: string, description: string, seed: Uint8Array, message: Uint8Array): VectorFile {
  const key = createSigningKey(seed);
  const content = members({ publicKey: key.publicKey, message, signature: key.sign(message) });
  return valid(ROOM, name, { description, seed: toHex(seed), ...content });
}

function brokenSignatures(): VectorFile[] {
  const key = keyOf("broken signatures");
  const message = utf8("the message that was signed");
  const good: Signed = { publicKey: key.publicKey, message, signature: key.sign(message) };
  const { signature } = good;
  const r = signature.slice(0, 32);
  const s = scalarOf(signature.slice(32));
  const broken: [string, string, Partial<Signed>][] = [
    ["empty_signature", "no signature at all", { signature: new Uint8Array() }],
    ["signature_of_63_bytes", "the last byte of the signature is missing", { signature: signature.slice(0, 63) }],
    ["signature_of_65_bytes", "a byte follows the signature", { signature: concatBytes(signature, new Uint8Array(1)) }],
    ["zero_signature", "64 zero bytes", { signature: new Uint8Array(64) }],
    ["flipped_bit_in_r", "one bit of R is flipped", { signature: flipBit(signature, 3) }],
    ["flipped_sign_of_r", "the sign bit of R is flipped", { signature: flipBit(signature, 255) }],
    ["flipped_bit_in_s", "one bit of S is flipped", { signature: flipBit(signature, 256) }],
    ["other_message", "the message is another one", { message: utf8("the message that was not signed") }],
    ["other_key", "the key is another one", { publicKey: keyOf("another").publicKey }],
    ["swapped_halves", "S stands before R", { signature: concatBytes(signature.slice(32), r) }],
    [
      "s_plus_l",
      "S + L instead of S: the same scalar in another encoding",
      { signature: concatBytes(r, littleEndian(s + L)) },
    ],
    ["s_plus_8l", "S + 8L instead of S", { signature: concatBytes(r, littleEndian(s + 8n * L)) }],
    ["s_all_ones", "S is 2^256 - 1", { signature: concatBytes(r, new Uint8Array(32).fill(0xff)) }],
    ["s_top_bit", "the highest bit of S, which S < L never has, is set", { signature: flipBit(signature, 511) }],
  ];
  return broken.map(([name, description, change]) =>
    invalid(ROOM, name, {
      description,
      step: "signature",
      reason: "SIGNATURE_INVALID",
      ...members({ ...good, ...change }),
    }),
  );
}

/** Signatures that took a holder of the secret key to make, and split verifiers. */
function craftedSignatures(): VectorFile[] {
  const secret = scalarFrom("crafted secret");
  const nonce = scalarFrom("crafted nonce");
  const publicKey = B.multiply(secret).toBytes();
  const message = utf8("crafted");
  // S = r + k·a, with whatever bytes stand for R.
  const craft = (r: Uint8Array, logarithm: bigint): Signed => {
    const s = (logarithm + challenge(r, publicKey, message) * secret) % L;
    return { publicKey, message, signature: concatBytes(r, littleEndian(s)) };
  };
  const crafted: [string, string, Signed][] = [
    ["r_neutral", "R is the neutral element; the equation holds", craft(NEUTRAL.toBytes(), 0n)],
    ["r_order_2", "R is the point of order 2; the equation holds with the cofactor only", craft(ORDER_2.toBytes(), 0n)],
    ["r_order_4", "R is a point of order 4; the equation holds with the cofactor only", craft(ORDER_4.toBytes(), 0n)],
    ["r_order_8", "R is a point of order 8; the equation holds with the cofactor only", craft(ORDER_8.toBytes(), 0n)],
    [
      "r_neutral_non_canonical",
      "R is the neutral element with y = p + 1; the equation holds for a verifier that decodes it",
      craft(littleEndian(P + 1n), 0n),
    ],
    [
      "r_neutral_sign_bit",
      "R is the neutral element with the sign bit set, although x = 0; the equation holds for a verifier that decodes it",
      craft(flipBit(littleEndian(1n), 255), 0n),
    ],
    [
      "r_non_canonical",
      "R has a y coordinate of p or more that is no multiple of a point of small order",
      craft(nonCanonicalPoint(), nonce),
    ],
    ["r_not_on_curve", "R is no point of the curve", craft(notOnCurve(), nonce)],
    [
      "cofactored_only_mixed_r",
      "R has a part of order 8 and is not of small order; the equation holds with the cofactor only",
      craft(B.multiply(nonce).add(ORDER_8).toBytes(), nonce),
    ],
    [
      "cofactored_only_mixed_key",
      "the key has a part of order 8 and is not of small order; the equation holds with the cofactor only",
      mixedOrderKey((k) => k % 8n !== 0n),
    ],
  ];
  return crafted.map(([name, description, signature]) =>
    invalid(ROOM, name, { description, step: "signature", reason: "SIGNATURE_INVALID", ...members(signature) }),
  );
}

/** Keys that may not be taken in. Where it can be done, the signature satisfies the equation. */
function badKeys(): VectorFile[] {
  const message = utf8("anything");
  const good = keyOf("bad keys");
  const signature = good.sign(message);
  const keys: [string, string, Uint8Array][] = [
    ["key_neutral", "the neutral element: one signature fits every message", NEUTRAL.toBytes()],
    ["key_order_2", "the point of order 2", ORDER_2.toBytes()],
    ["key_order_4", "a point of order 4", ORDER_4.toBytes()],
    ["key_order_4_negative", "the other point of order 4", ORDER_4.negate().toBytes()],
    ["key_order_8_a", "a point of order 8", ORDER_8.toBytes()],
    ["key_order_8_b", "a point of order 8", ORDER_8.negate().toBytes()],
    ["key_order_8_c", "a point of order 8", ORDER_8.multiply(3n).toBytes()],
    ["key_order_8_d", "a point of order 8", ORDER_8.multiply(3n).negate().toBytes()],
  ];
  const files = keys.map(([name, description, publicKey]) =>
    badKey(name, `the key is ${description}`, forgeWithSmallOrderKey(publicKey)),
  );
  const others: [string, string, Uint8Array][] = [
    ["key_of_31_bytes", "the last byte of the key is missing", good.publicKey.slice(0, 31)],
    ["key_of_33_bytes", "a byte follows the key", concatBytes(good.publicKey, new Uint8Array(1))],
    ["key_empty", "there is no key", new Uint8Array()],
    [
      "key_neutral_sign_bit",
      "the neutral element with the sign bit set, although x = 0",
      flipBit(littleEndian(1n), 255),
    ],
    [
      "key_order_2_sign_bit",
      "the point of order 2 with the sign bit set, although x = 0",
      flipBit(littleEndian(P - 1n), 255),
    ],
    ["key_neutral_non_canonical", "the neutral element with y = p + 1", littleEndian(P + 1n)],
    ["key_order_4_non_canonical", "a point of order 4 with y = p", littleEndian(P)],
    ["key_all_ones", "y = 2^255 - 1, and the sign bit is set", new Uint8Array(32).fill(0xff)],
    ["key_non_canonical", "a point that is not of small order, with a y coordinate of p or more", nonCanonicalPoint()],
    ["key_not_on_curve", "no point of the curve has this y coordinate", notOnCurve()],
  ];
  for (const [name, description, publicKey] of others) {
    files.push(badKey(name, description, { publicKey, message, signature }));
  }
  return files;
}

function badKey(name: string, description: string, signature: Signed): VectorFile {
  return invalid(ROOM, name, { description, step: "key", reason: "KEY_INVALID", ...members(signature) });
}

function members({ publicKey, message, signature }: Signed): Record<string, string> {
  return hexMembers({ public_key: publicKey, message, signature });
}

/** R = S·B is a signature by a key of small order for every message whose challenge is a multiple of 8. */
function forgeWithSmallOrderKey(publicKey: Uint8Array): Signed {
  const s = scalarFrom("forgery");
  const r = B.multiply(s).toBytes();
  const message = findMessage((candidate) => challenge(r, publicKey, candidate) % 8n === 0n);
  return { publicKey, message, signature: concatBytes(r, littleEndian(s)) };
}

/** A signature by a·B + a point of order 8, made with `a` alone, whose challenge satisfies `wanted`. */
function mixedOrderKey(wanted: (challenge: bigint) => boolean): Signed {
  const secret = scalarFrom("mixed secret");
  const nonce = scalarFrom("mixed nonce");
  const publicKey = B.multiply(secret).add(ORDER_8).toBytes();
  const r = B.multiply(nonce).toBytes();
  const message = findMessage((candidate) => wanted(challenge(r, publicKey, candidate)));
  const s = (nonce + challenge(r, publicKey, message) * secret) % L;
  return { publicKey, message, signature: concatBytes(r, littleEndian(s)) };
}

function findMessage(wanted: (message: Uint8Array) => boolean): Uint8Array {
  for (let i = 0; ; i++) {
    const message = utf8(`message ${i}`);
    if (wanted(message)) return message;
  }
}

function pointOfOrder8(): Point {
  for (let y = 2n; ; y++) {
    const point = decode(littleEndian(y));
    // L times the point; multiply() takes no more than L - 1.
    const torsion = point?.multiply(L - 1n).add(point);
    if (torsion !== undefined && !torsion.double().double().is0()) return torsion;
  }
}

/** The smallest y of p or more that decodes, modulo p, to a point that is not of small order. */
function nonCanonicalPoint(): Uint8Array {
  for (let y = 2n; y < 19n; y++) if (decode(littleEndian(y))?.isSmallOrder() === false) return littleEndian(P + y);
  throw new Error("there is none");
}

function notOnCurve(): Uint8Array {
  for (let y = 2n; ; y++) if (decode(littleEndian(y)) === undefined) return littleEndian(y);
}

function decode(encoded: Uint8Array): Point | undefined {
  try {
    return Point.fromBytes(encoded);
  } catch {
    return undefined;
  }
}

function challenge(r: Uint8Array, publicKey: Uint8Array, message: Uint8Array): bigint {
  return scalarOf(sha512(concatBytes(r, publicKey, message))) % L;
}

function scalarFrom(name: string): bigint {
  return scalarOf(sha256(utf8(`omi test vectors: scalar ${name}`))) % L;
}

function scalarOf(encoded: Uint8Array): bigint {
  return BigInt(`0x${toHex(encoded.toReversed())}`);
}

function littleEndian(number: bigint): Uint8Array {
  return bytes(number.toString(16).padStart(64, "0")).reverse();
}

function flipBit(encoded: Uint8Array, bit: number): Uint8Array {
  const flipped = encoded.slice();
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return flipped;
}

function bytes(hex: string): Uint8Array {
  const decoded = fromHex(hex);
  if (decoded === undefined) throw new Error(`not hex: ${hex}`);
  return decoded;
}
