import { getPublicKey, hashes, Point, sign as signBytes } from "@noble/ed25519";
import { sha256 as hashSha256, sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes, toHex } from "../core/bytes.ts";
import type { SigningKey, StatementCrypto } from "./crypto.ts";
import { hasStrictForm, SEED_LENGTH } from "./ed25519-form.ts";
import { jwkThumbprint } from "./thumbprint.ts";

export { publicKeyProblem } from "./public-key.ts";

// noble leaves the hash of its synchronous functions to the caller.
hashes.sha512 = sha512;

export const sha256: StatementCrypto["sha256"] = (bytes) => hashSha256(bytes);

// Built on noble's points, because noble's own verification multiplies the equation by the cofactor in all its modes.
export const verify: StatementCrypto["verify"] = async (publicKey, message, signature) => {
  if (!hasStrictForm(publicKey, signature)) return false;
  const key = decodePoint(publicKey);
  if (key === undefined) return false;
  const r = signature.subarray(0, 32);
  const s = littleEndian(signature.subarray(32));
  const k = littleEndian(sha512(concatBytes(r, publicKey, message))) % Point.CURVE().n;
  // R = S·B - k·A. Comparing encodings also refuses an R that is not on the curve.
  return equalBytes(Point.BASE.multiplyUnsafe(s).subtract(key.multiplyUnsafe(k)).toBytes(), r);
};

export const createSigningKey: StatementCrypto["createSigningKey"] = (seed) => {
  if (seed.length !== SEED_LENGTH) throw new RangeError(`a seed has ${SEED_LENGTH} bytes`);
  const secret = Uint8Array.from(seed);
  const publicKey = getPublicKey(secret);
  const key: SigningKey = Object.freeze({
    publicKey,
    keyId: jwkThumbprint(publicKey, sha256),
    sign: (message: Uint8Array) => signBytes(message, secret),
    signAside: async (message: Uint8Array) => signBytes(message, secret),
  });
  seeds.set(key, secret);
  return key;
};

export const exportSeed: StatementCrypto["exportSeed"] = (key) => {
  const seed = seeds.get(key);
  if (seed === undefined) throw new TypeError("the key's seed is not held here");
  return Uint8Array.from(seed);
};

const seeds = new WeakMap<SigningKey, Uint8Array>();

function decodePoint(bytes: Uint8Array): Point | undefined {
  try {
    return Point.fromBytes(bytes);
  } catch {
    return undefined;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes.toReversed())}`);
}
