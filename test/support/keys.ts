import { createSigningKey, type SigningKey, sha256 } from "../../src/statement/crypto.ts";

/** A key pair that is the same in every run, one for each name. */
export function testKey(name: string): SigningKey {
  return createSigningKey(sha256(new TextEncoder().encode(`test key ${name}`)));
}

let counter = 0;

/** Bytes that no other call in this process returned; the same in every run. */
export function testBytes(length: number): Uint8Array {
  const seed = new TextEncoder().encode(`test bytes ${counter++}`);
  const bytes = new Uint8Array(length);
  for (let offset = 0, block = sha256(seed); offset < length; offset += 32, block = sha256(block)) {
    bytes.set(block.subarray(0, Math.min(32, length - offset)), offset);
  }
  return bytes;
}

/** 16 bytes that were never used. */
export function testNonce(): Uint8Array {
  return testBytes(16);
}
