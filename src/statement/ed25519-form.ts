/**
 * The part of the Ed25519 rule that looks at encodings alone. Every verifier of the mesh must agree on every signature,
 * but RFC 8032 leaves room and libraries differ, so the rule is stated and checked here, beside whatever library does the
 * arithmetic:
 *
 * - the public key has 32 bytes, the signature 64, `R` (32) followed by `S` (32, little endian);
 * - `S < L`, the order of the base point (else a second signature could be made from the first);
 * - the y coordinates of the public key and of `R` are below `p = 2^255 - 19` (one encoding for each point);
 * - neither is a point of small order (a public key of small order has signatures that fit every message);
 * - `S·B = R + k·A` holds as it stands, not multiplied by the cofactor 8.
 */

/** The length of a public key in bytes. */
export const PUBLIC_KEY_LENGTH = 32;

/** The length of a signature in bytes. */
export const SIGNATURE_LENGTH = 64;

/** The length of the secret seed in bytes from which a key pair is derived (RFC 8032 section 5.1.5). */
export const SEED_LENGTH = 32;

/** True if public key and signature obey all of the rule but its equation. */
export function hasStrictForm(publicKey: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_LENGTH || signature.length !== SIGNATURE_LENGTH) return false;
  const r = signature.subarray(0, 32);
  const s = signature.subarray(32);
  return (
    isBelow(s, GROUP_ORDER) &&
    hasCanonicalY(publicKey) &&
    hasCanonicalY(r) &&
    !isSmallOrder(publicKey) &&
    !isSmallOrder(r)
  );
}

/** True if the y coordinate of an encoded point (32 bytes) is below p. */
export function hasCanonicalY(point: Uint8Array): boolean {
  return isBelow(point, FIELD_PRIME, WITHOUT_SIGN);
}

/**
 * True if a canonical encoded point (32 bytes) is one of the eight whose order divides 8. The sign bit is ignored: no
 * other point shares a y coordinate with them.
 */
export function isSmallOrder(point: Uint8Array): boolean {
  return SMALL_ORDER_Y.some((y) => compare(point, y, WITHOUT_SIGN) === 0);
}

function isBelow(number: Uint8Array, limit: Uint8Array, highestByteMask = 0xff): boolean {
  return compare(number, limit, highestByteMask) < 0;
}

/** Compares two little-endian numbers of 32 bytes, the highest byte of `a` masked: negative if `a` is less, 0 if equal. */
function compare(a: Uint8Array, b: Uint8Array, highestByteMask: number): number {
  let mask = highestByteMask;
  for (let i = 31; i >= 0; i--) {
    const difference = ((a[i] ?? 0) & mask) - (b[i] ?? 0);
    if (difference !== 0) return difference;
    mask = 0xff;
  }
  return 0;
}

// The highest bit of an encoded point is the sign of x.
const WITHOUT_SIGN = 0x7f;

/** 32 bytes, little endian. */
function littleEndian(number: bigint): Uint8Array {
  const bytes = new Uint8Array(32);
  for (let i = 0; i < 32; i++) bytes[i] = Number((number >> BigInt(8 * i)) & 0xffn);
  return bytes;
}

const P = 2n ** 255n - 19n;
const FIELD_PRIME = littleEndian(P);
const GROUP_ORDER = littleEndian(2n ** 252n + 27742317777372353535851937790883648493n);

// Two of the four points of order 8 have this y coordinate, the other two its negative.
const ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;

const SMALL_ORDER_Y = [
  1n, // the neutral element, order 1
  P - 1n, // order 2
  0n, // order 4
  ORDER_8_Y,
  P - ORDER_8_Y,
].map(littleEndian);
