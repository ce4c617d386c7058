import { fromBase64Url } from "../core/bytes.ts";
import { sha256 } from "./crypto.ts";
import { jwkThumbprint } from "./thumbprint.ts";

/** The length of a key ID in characters. */
const KEY_ID_LENGTH = 43;

/** The key ID of an Ed25519 public key: its RFC 7638 thumbprint, base64url. */
export function keyIdOf(publicKey: Uint8Array): string {
  return jwkThumbprint(publicKey, sha256);
}

/** True for a text that can be a key ID: strict base64url of 32 bytes. */
export function isKeyId(text: string): boolean {
  return text.length === KEY_ID_LENGTH && fromBase64Url(text) !== undefined;
}
