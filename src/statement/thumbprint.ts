import { toBase64Url, utf8 } from "../core/bytes.ts";

/**
 * The SHA-256 thumbprint of an Ed25519 public key's JWK (RFC 7638, with the members RFC 8037 section 2 requires),
 * base64url, 43 characters.
 */
export function jwkThumbprint(publicKey: Uint8Array, sha256: (bytes: Uint8Array) => Uint8Array): string {
  // Members in lexicographic order without white space, as RFC 7638 section 3.3 demands.
  return toBase64Url(sha256(utf8(`{"crv":"Ed25519","kty":"OKP","x":"${toBase64Url(publicKey)}"}`)));
}
