import { utf8 } from "../core/bytes.ts";
import { SIGNATURE_LENGTH } from "../statement/ed25519-form.ts";
import { isKeyId } from "../statement/key-id.ts";
import { tokenInvalid } from "./token-invalid.ts";
import { parseUniqueJsonObject } from "./unique-json.ts";

/** The greatest length of a token in characters. */
export const MAX_TOKEN_LENGTH = 4096;

/** The media type of access tokens (RFC 9068 section 2.1). Without it, some other JWT of the same issuer could pass. */
const TOKEN_TYPE = "at+jwt";

// RFC 8037 section 3.1. One algorithm, fixed by the verifier (RFC 8725 section 3.1): the header only has to agree.
const ALGORITHM = "EdDSA";

/** A token that has the right form. Nothing in it is true before its signature was verified. */
export type CompactToken = {
  /** The ID of the key that is said to have signed it; selects among keys that are trusted already, nothing else. */
  readonly keyId: string;
  /** What the signature covers. */
  readonly signingInput: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
  /** The bytes of the claims. */
  readonly payload: Uint8Array;
};

/**
 * Takes a JWS in compact serialisation apart (RFC 7515 section 7.1), so strictly that a token has one text only: three
 * parts of canonical base64url, and a header that consists of `alg`, `typ` and `kid`. Other header members are refused
 * rather than ignored, as all that RFC 7515 defines either name a key (`jwk`, `jku`, `x5u`, `x5c`), which is nobody's
 * choice but the verifier's (RFC 8725 section 3.10), or change how the token is read (`crit`, `b64`, `zip`).
 *
 * @throws Refusal TOKEN_INVALID with the rule `length`, `form`, `header`, `alg`, `typ` or `kid`
 */
export function parseCompactToken(token: string): CompactToken {
  if (token.length > MAX_TOKEN_LENGTH) throw tokenInvalid("length");
  const [headerText, payloadText, signatureText, ...more] = token.split(".", 4);
  if (!headerText || !payloadText || !signatureText || more.length > 0) throw tokenInvalid("form");
  const headerBytes = decode(headerText);
  const payload = decode(payloadText);
  const signature = decode(signatureText);
  if (headerBytes === undefined || payload === undefined || signature?.length !== SIGNATURE_LENGTH) {
    throw tokenInvalid("form");
  }
  return {
    keyId: readKeyId(headerBytes),
    signingInput: utf8(`${headerText}.${payloadText}`),
    signature,
    payload,
  };
}

/** The text of a token whose claims are `payload`, signed with `sign`. {@link parseCompactToken} takes it apart again. */
export function formatCompactToken(
  keyId: string,
  payload: Uint8Array,
  sign: (input: Uint8Array) => Uint8Array,
): string {
  const header = utf8(JSON.stringify({ alg: ALGORITHM, typ: TOKEN_TYPE, kid: keyId }));
  const signingInput = `${encode(header)}.${encode(payload)}`;
  return `${signingInput}.${encode(sign(utf8(signingInput)))}`;
}

// Node's own base64url: a token is long, and ours (`core/bytes.ts`) would take a tenth as long as the signature.
function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64url");
}

/** Undefined unless `text` is the one text of some bytes: Node itself decodes others too. */
function decode(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? bytes : undefined;
}

function readKeyId(headerBytes: Uint8Array): string {
  const header = parseUniqueJsonObject(headerBytes);
  if (header === undefined) throw tokenInvalid("header");
  const { alg, typ, kid, ...others } = header;
  if (Object.keys(others).length > 0) throw tokenInvalid("header");
  if (alg !== ALGORITHM) throw tokenInvalid("alg");
  if (typ !== TOKEN_TYPE) throw tokenInvalid("typ");
  if (typeof kid !== "string" || !isKeyId(kid)) throw tokenInvalid("kid");
  return kid;
}
