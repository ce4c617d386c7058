import { create } from "@bufbuild/protobuf";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { type KeyRecord, KeyRecordSchema, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { toBase64Url, utf8 } from "../../src/core/bytes.ts";
import { isRefusal, reasonName } from "../../src/core/refusal.ts";
import { createSigningKey, type SigningKey } from "../../src/statement/crypto.ts";
import type { TokenExpectation } from "../../src/token/access-token.ts";
import type { AccessTokenClaims } from "../../src/token/claims.ts";

export const NOW = 1_800_000_000;
export const APP_ID = "test.registry.alice.shop.7f8a9d";
export const ISSUER = `https://auth.test/apps/${APP_ID}`;
export const AUDIENCE = `${APP_ID}/articles`;

export const authKey = createSigningKey(new Uint8Array(32).fill(1));
export const otherKey = createSigningKey(new Uint8Array(32).fill(2));

export const claims: AccessTokenClaims = {
  iss: ISSUER,
  sub: "user:4f_Q-9",
  aud: AUDIENCE,
  app_id: APP_ID,
  token_use: "user",
  iat: NOW - 10,
  exp: NOW + 600,
  jti: "j-1",
  sid: "s-1",
};

export const serviceClaims: AccessTokenClaims = {
  ...claims,
  sub: "service:cart",
  token_use: "service",
  cnf: { jkt: otherKey.keyId },
};

export function keyRecord(key: SigningKey, status: KeyStatus = KeyStatus.ACTIVE, notAfter = 0n): KeyRecord {
  const { publicKey, keyId } = key;
  return create(KeyRecordSchema, { publicKey, keyId, algorithm: KeyAlgorithm.ED25519, status, notAfter });
}

export const expected: TokenExpectation = {
  keys: [keyRecord(authKey)],
  issuer: ISSUER,
  audience: AUDIENCE,
  use: "user",
  now: NOW,
};

/** A token of any texts, signed by `key`. */
export function rawToken(header: string, payload: string | Uint8Array, key: SigningKey = authKey): string {
  const input = `${toBase64Url(utf8(header))}.${toBase64Url(typeof payload === "string" ? utf8(payload) : payload)}`;
  return `${input}.${toBase64Url(key.sign(utf8(input)))}`;
}

/** A token with the given header members and claims in place of the good ones; undefined leaves one out. */
export function tokenWith(
  changed: { header?: Record<string, unknown>; claims?: Record<string, unknown> },
  key: SigningKey = authKey,
): string {
  const header = { alg: "EdDSA", typ: "at+jwt", kid: key.keyId, ...changed.header };
  return rawToken(JSON.stringify(header), JSON.stringify({ ...claims, ...changed.claims }), key);
}

/** `REASON` or `REASON rule` of the Refusal that a promise ends with. */
export async function outcomeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "accepted";
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return [reasonName(error.reason), error.metadata.rule].filter((part) => part !== undefined).join(" ");
  }
}
