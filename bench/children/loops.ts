import { createPrivateKey, generateKeyPairSync, sign } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { KeyRecordSchema, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { systemRandom } from "../../src/core/random.ts";
import { createSigningKey } from "../../src/statement/crypto.ts";
import { signAccessToken, verifyAccessToken } from "../../src/token/access-token.ts";
import { audienceOf } from "../../src/token/claims.ts";
import { createTokenVerifier } from "../../src/token/token-verifier.ts";
import { serveLines } from "./lines.ts";

/** What is repeated. */
export type Loop = "ed25519-sign" | "token-issue" | "token-verify" | "token-seen";

/** How many verifications are under way at any time. They run on the thread pool. */
const inFlight = 64;

const key = createSigningKey(systemRandom(32));
const now = Math.floor(Date.now() / 1000);
const appId = "test.omi-registry.bench.shop.0a1b2c";
const audience = audienceOf(appId, "cms-article-1");
let issued = 0;
const newToken = () =>
  signAccessToken(
    {
      iss: "https://auth.test/apps/1",
      sub: "user:7f8a9d0c1b2e3f40",
      aud: audience,
      app_id: appId,
      token_use: "user",
      iat: now,
      exp: now + 900,
      jti: `${issued++}`,
      sid: "5d41402abc4b2a76",
    },
    key,
  );
const record = create(KeyRecordSchema, { publicKey: key.publicKey, keyId: key.keyId, status: KeyStatus.ACTIVE });
const expected = { keys: [record], issuer: "https://auth.test/apps/1", audience, use: "user" as const, now };
const tokens = Array.from({ length: 1000 }, newToken);
const tokenAt = (index: number) => tokens[index % tokens.length] ?? "";
const verifySeen = createTokenVerifier();
for (const token of tokens) await verifySeen(token, expected);

const { privateKey } = generateKeyPairSync("ed25519");
const bare = createPrivateKey(privateKey.export({ type: "pkcs8", format: "pem" }));
const bytes = systemRandom(500);

const once: Record<Loop, (index: number) => unknown> = {
  "ed25519-sign": () => sign(null, bytes, bare),
  "token-issue": newToken,
  "token-verify": (index) => verifyAccessToken(tokenAt(index), expected),
  "token-seen": (index) => verifySeen(tokenAt(index), expected),
};

await serveLines<{ loop: Loop; seconds: number }>({}, async ({ loop, seconds }) => {
  const work = once[loop];
  const start = process.hrtime.bigint();
  const end = start + BigInt(Math.round(seconds * 1e9));
  let count = 0;
  while (process.hrtime.bigint() < end) {
    const batch: unknown[] = [];
    for (let i = 0; i < inFlight; i++) batch.push(work(count++));
    await Promise.all(batch);
  }
  return { rate: count / (Number(process.hrtime.bigint() - start) / 1e9) };
});
