/** True if both hold the same bytes. Not constant-time: for public values only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** All bytes in one new array, in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  return joined(parts);
}

/**
 * All bytes that come, in one new array. Stops reading where there are more than `maxBytes`.
 *
 * @param tooMany - makes what is thrown then
 */
export async function bytesWithin(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  maxBytes: number,
  tooMany: () => Error,
): Promise<Uint8Array> {
  const read: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    length += chunk.length;
    if (length > maxBytes) throw tooMany();
    read.push(chunk);
  }
  return joined(read);
}

// Not by arguments: parts may be too many for that.
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The UTF-8 encoding of a text. */
export function utf8(text: string): Uint8Array {
  return textEncoder.encode(text);
}

/** Base64url without padding (RFC 4648 section 5). */
export function toBase64Url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = (byteAt(bytes, i) << 16) | (byteAt(bytes, i + 1) << 8) | byteAt(bytes, i + 2);
    text += BASE64URL.charAt(group >> 18) + BASE64URL.charAt((group >> 12) & 63);
    if (left > 1) text += BASE64URL.charAt((group >> 6) & 63);
    if (left > 2) text += BASE64URL.charAt(group & 63);
  }
  return text;
}

/**
 * Strict base64url without padding: undefined for other characters, padding, white space, or leftover bits that are not
 * zero, so that every byte string has exactly one text.
 */
export function fromBase64Url(text: string): Uint8Array | undefined {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let at = 0;
  let held = 0;
  let heldBits = 0;
  for (let i = 0; i < text.length; i++) {
    const value = digitOf(BASE64URL_VALUES, text.charCodeAt(i));
    if (value === NO_DIGIT) return undefined;
    held = ((held << 6) | value) & 0xffff;
    heldBits += 6;
    if (heldBits >= 8) {
      heldBits -= 8;
      bytes[at++] = held >> heldBits;
    }
  }
  return (held & ((1 << heldBits) - 1)) === 0 ? bytes : undefined;
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX.charAt(byte >> 4) + HEX.charAt(byte & 15);
  return text;
}

/** Strict lower-case hexadecimal: undefined for anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 === 1) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = digitOf(HEX_VALUES, text.charCodeAt(2 * i));
    const low = digitOf(HEX_VALUES, text.charCodeAt(2 * i + 1));
    if (high === NO_DIGIT || low === NO_DIGIT) return undefined;
    bytes[i] = (high << 4) | low;
  }
  return bytes;
}

const textEncoder = new TextEncoder();

const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HEX = "0123456789abcdef";
const NO_DIGIT = 255;
const BASE64URL_VALUES = digitValues(BASE64URL);
const HEX_VALUES = digitValues(HEX);

/** Character code to digit value, {@link NO_DIGIT} for characters that are no digit. */
function digitValues(alphabet: string): Uint8Array {
  const values = new Uint8Array(128).fill(NO_DIGIT);
  for (let i = 0; i < alphabet.length; i++) values[alphabet.charCodeAt(i)] = i;
  return values;
}

function digitOf(values: Uint8Array, charCode: number): number {
  return values[charCode] ?? NO_DIGIT;
}

function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}
