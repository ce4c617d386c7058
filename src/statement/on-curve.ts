/**
 * True if an encoded point with a canonical y coordinate is on the curve of Ed25519. It must not be one of small order.
 *
 * There is an x for y if x^2 = (y^2 - 1) / (d y^2 + 1) is a square modulo p (RFC 8032 section 5.1.3). Libraries find that out
 * by computing x, a power with an exponent of 252 bits; whether it exists takes a third of that: its Jacobi symbol. Node
 * has neither, and every write that brings in a key asks.
 *
 * @param point 32 bytes
 */
export function isOnCurve(point: Uint8Array): boolean {
  const y = yOf(point);
  const ySquared = (y * y) % P;
  // A quotient is a square where the product is.
  return jacobiSymbol(((ySquared - 1n) * (D * ySquared + 1n)) % P) === 1;
}

const P = 2n ** 255n - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/** The y coordinate of an encoded point: little endian, without the highest bit, which is the sign of x. */
function yOf({ buffer, byteOffset, byteLength }: Uint8Array): bigint {
  const view = new DataView(buffer, byteOffset, byteLength);
  let y = view.getBigUint64(24, true) & (2n ** 63n - 1n);
  for (let at = 16; at >= 0; at -= 8) y = (y << 64n) | view.getBigUint64(at, true);
  return y;
}

/**
 * The Jacobi symbol (number / p), which for a prime p is the Legendre symbol: 1 for a square, -1 for what is none, 0 for a
 * multiple of p. By Euclid's algorithm and the law of quadratic reciprocity.
 *
 * @param number not negative
 */
function jacobiSymbol(number: bigint): number {
  let symbol = 1;
  let [a, n] = [number, P];
  while (a !== 0n) {
    let low = Number(a & 0xffffffffn);
    // Each factor 2 of a has the symbol -1 if n is 3 or 5 modulo 8, so an even number of them has none.
    for (; low === 0; low = Number(a & 0xffffffffn)) a >>= 32n;
    const zeros = 31 - Math.clz32(low & -low);
    a >>= BigInt(zeros);
    const nModulo8 = Number(n & 7n);
    if (zeros % 2 === 1 && (nModulo8 === 3 || nModulo8 === 5)) symbol = -symbol;
    // Reciprocity: the two change places, and the sign if both are 3 modulo 4.
    if (Number(a & 3n) === 3 && nModulo8 % 4 === 3) symbol = -symbol;
    [a, n] = [n % a, a];
  }
  return n === 1n ? symbol : 0;
}
