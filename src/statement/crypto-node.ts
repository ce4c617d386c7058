import {
  createPrivateKey,
  createPublicKey,
  hash,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from "node:crypto";
import { fromBase64Url } from "../core/bytes.ts";
import { LruCache } from "../core/lru-cache.ts";
import type { SigningKey, StatementCrypto } from "./crypto.ts";
import { hasStrictForm, SEED_LENGTH } from "./ed25519-form.ts";
import { jwkThumbprint } from "./thumbprint.ts";

export { publicKeyProblem } from "./public-key.ts";

export const sha256: StatementCrypto["sha256"] = (bytes) => new Uint8Array(hash("sha256", bytes, "buffer"));

// OpenSSL's equation is the cofactorless one. With a callback it runs on libuv's thread pool, off the event loop.
export const verify: StatementCrypto["verify"] = async (publicKey, message, signature) => {
  if (!hasStrictForm(publicKey, signature)) return false;
  const key = importPublicKey(publicKey);
  return new Promise((resolve, reject) => {
    verifyBytes(null, message, key, signature, (error, valid) => (error === null ? resolve(valid) : reject(error)));
  });
};

export const createSigningKey: StatementCrypto["createSigningKey"] = (seed) => {
  if (seed.length !== SEED_LENGTH) throw new RangeError(`a seed has ${SEED_LENGTH} bytes`);
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
  const publicKey = jwkBytes(privateKey, "x");
  const key: SigningKey = Object.freeze({
    publicKey,
    keyId: jwkThumbprint(publicKey, sha256),
    sign: (message: Uint8Array) => new Uint8Array(signBytes(null, message, privateKey)),
    signAside: (message: Uint8Array) =>
      new Promise<Uint8Array>((resolve, reject) => {
        signBytes(null, message, privateKey, (error, signature) => {
          if (error === null) resolve(new Uint8Array(signature));
          else reject(error);
        });
      }),
  });
  privateKeys.set(key, privateKey);
  return key;
};

export const exportSeed: StatementCrypto["exportSeed"] = (key) => {
  const privateKey = privateKeys.get(key);
  if (privateKey === undefined) throw new TypeError("the key's seed is not held here");
  return jwkBytes(privateKey, "d");
};

const privateKeys = new WeakMap<SigningKey, KeyObject>();

// The DER of a PKCS #8 Ed25519 private key (RFC 8410 section 7) up to the seed that ends it.
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

// Most signatures come from a few keys.
const publicKeys = new LruCache<string, KeyObject>(4096);

/** As PEM, since that takes Node a quarter of the time of any other form: those make it throw an error, and catch it. */
function importPublicKey(publicKey: Uint8Array): KeyObject {
  const name = toBase64(publicKey);
  let key = publicKeys.get(name);
  if (key === undefined) {
    key = createPublicKey(`-----BEGIN PUBLIC KEY-----\n${SPKI_PREFIX}${name}\n-----END PUBLIC KEY-----`);
    publicKeys.set(name, key);
  }
  return key;
}

// The DER of an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4) up to the key that ends it: 12 bytes, in base64.
const SPKI_PREFIX = "MCowBQYDK2VwAyEA";

function toBase64({ buffer, byteOffset, byteLength }: Uint8Array): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString("base64");
}

function jwkBytes(key: KeyObject, member: "x" | "d"): Uint8Array {
  const bytes = fromBase64Url(key.export({ format: "jwk" })[member] ?? "");
  if (bytes === undefined || bytes.length === 0) throw new Error("not an Ed25519 private key");
  return bytes;
}
