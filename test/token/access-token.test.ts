import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { toBase64Url } from "../../src/core/bytes.ts";
import { exportSeed, type SigningKey } from "../../src/statement/crypto.ts";
import { signAccessToken, type TokenExpectation, verifyAccessToken } from "../../src/token/access-token.ts";
import { createTokenVerifier } from "../../src/token/token-verifier.ts";
import {
  APP_ID,
  AUDIENCE,
  authKey,
  claims,
  expected,
  ISSUER,
  keyRecord,
  NOW,
  otherKey,
  outcomeOf,
  rawToken,
  serviceClaims,
  tokenWith,
} from "./support.ts";

const good = signAccessToken(claims, authKey);
const [goodHeader = "", goodPayload = "", goodSignature = ""] = good.split(".");
const headerJson = JSON.stringify({ alg: "EdDSA", typ: "at+jwt", kid: authKey.keyId });
const claimsJson = JSON.stringify(claims);

/** The same bytes with other leftover bits in the last character: what lenient decoders let pass. */
function withLeftoverBits(part: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  return part.slice(0, -1) + alphabet.charAt(alphabet.indexOf(part.slice(-1)) + 1);
}

const badTokens: readonly (readonly [what: string, token: string, outcome: string])[] = [
  ["empty", "", "form"],
  ["one part", goodPayload, "form"],
  ["two parts", `${goodHeader}.${goodPayload}`, "form"],
  ["four parts", `${good}.AA`, "form"],
  ["five parts (a JWE)", `${good}.AA.AA`, "form"],
  ["a dot at the end", `${good}.`, "form"],
  ["an empty signature", `${goodHeader}.${goodPayload}.`, "form"],
  ["an empty payload", `${goodHeader}..${goodSignature}`, "form"],
  ["white space around it", ` ${good}`, "form"],
  ["a line break in it", `${goodHeader}.${goodPayload}\n.${goodSignature}`, "form"],
  ["padding", `${good}==`, "form"],
  ["standard base64 characters", good.replace(goodSignature, `${goodSignature.slice(0, -2)}+/`), "form"],
  ["leftover bits in the signature", `${goodHeader}.${goodPayload}.${withLeftoverBits(goodSignature)}`, "form"],
  ["a short signature", `${goodHeader}.${goodPayload}.${toBase64Url(new Uint8Array(63))}`, "form"],
  ["a long signature", `${goodHeader}.${goodPayload}.${toBase64Url(new Uint8Array(65))}`, "form"],
  ["more than 4 KiB", tokenWith({ claims: { other: "x".repeat(4096) } }), "length"],

  ["a header that is no JSON", rawToken("{", claimsJson), "header"],
  ["a header that is a list", rawToken("[]", claimsJson), "header"],
  ["a header that is null", rawToken("null", claimsJson), "header"],
  ["alg twice", rawToken(headerJson.replace("{", '{"alg":"EdDSA",'), claimsJson), "header"],
  ["alg twice, once escaped", rawToken(headerJson.replace("{", '{"\\u0061lg":"none",'), claimsJson), "header"],
  ["crit", tokenWith({ header: { crit: ["exp"] } }), "header"],
  ["b64", tokenWith({ header: { b64: true } }), "header"],
  ["jwk", tokenWith({ header: { jwk: { kty: "OKP" } } }), "header"],
  ["jku", tokenWith({ header: { jku: "https://evil.test/jwks" } }), "header"],
  ["x5u", tokenWith({ header: { x5u: "https://evil.test/x5u" } }), "header"],
  ["an unknown header member", tokenWith({ header: { other: 1 } }), "header"],
  ["__proto__ in the header", rawToken(headerJson.replace("{", '{"__proto__":{},'), claimsJson), "header"],
  ["no alg", tokenWith({ header: { alg: undefined } }), "alg"],
  ["alg none", tokenWith({ header: { alg: "none" } }), "alg"],
  ["alg HS256", tokenWith({ header: { alg: "HS256" } }), "alg"],
  ["alg in another case", tokenWith({ header: { alg: "eddsa" } }), "alg"],
  ["no typ", tokenWith({ header: { typ: undefined } }), "typ"],
  ["typ of an ID token", tokenWith({ header: { typ: "JWT" } }), "typ"],
  ["no kid", tokenWith({ header: { kid: undefined } }), "kid"],
  ["a kid that is a number", tokenWith({ header: { kid: 1 } }), "kid"],
  ["a kid that is a path", tokenWith({ header: { kid: "../../dev/null" } }), "kid"],
  ["an unknown kid", signAccessToken(claims, otherKey), "kid"],

  ["another key's signature under our kid", tokenWith({ header: { kid: authKey.keyId } }, otherKey), "signature"],
  [
    "another token's signature",
    signAccessToken({ ...claims, jti: "j-2" }, authKey).replace(/[^.]+$/, goodSignature),
    "signature",
  ],
  ["an all-zero signature", `${goodHeader}.${goodPayload}.${toBase64Url(new Uint8Array(64))}`, "signature"],

  ["claims that are no JSON", rawToken(headerJson, "x"), "json"],
  ["claims that are a list", rawToken(headerJson, "[]"), "json"],
  ["claims that are no UTF-8", rawToken(headerJson, Uint8Array.of(0x7b, 0xff, 0x7d)), "json"],
  ["a byte order mark", rawToken(headerJson, `\ufeff${claimsJson}`), "json"],
  ["exp twice", rawToken(headerJson, claimsJson.replace("{", '{"exp":1,')), "json"],
  [
    "a name twice in an inner object",
    rawToken(headerJson, claimsJson.replace("{", '{"other":[{"a":1,"a":1}],')),
    "json",
  ],
  [
    "claims nested too deeply",
    rawToken(headerJson, claimsJson.replace("{", `{"other":${"[".repeat(8)}${"]".repeat(8)},`)),
    "json",
  ],

  ["no iss", tokenWith({ claims: { iss: undefined } }), "iss"],
  ["another iss", tokenWith({ claims: { iss: `${ISSUER}/` } }), "iss"],
  ["an iss that is a list", tokenWith({ claims: { iss: [ISSUER] } }), "iss"],
  ["no sub", tokenWith({ claims: { sub: undefined } }), "sub"],
  ["a sub without kind", tokenWith({ claims: { sub: "4f_Q-9" } }), "sub"],
  ["an empty user", tokenWith({ claims: { sub: "user:" } }), "sub"],
  ["a user with other characters", tokenWith({ claims: { sub: "user:a b" } }), "sub"],
  ["a service's sub in a user token", tokenWith({ claims: { sub: "service:cart" } }), "sub"],
  ["no aud", tokenWith({ claims: { aud: undefined } }), "aud"],
  ["another service's aud", tokenWith({ claims: { aud: `${APP_ID}/cart` } }), "aud"],
  ["the app alone as aud", tokenWith({ claims: { aud: APP_ID } }), "aud"],
  ["an empty list of audiences", tokenWith({ claims: { aud: [] } }), "aud"],
  ["a list that lacks us", tokenWith({ claims: { aud: [`${APP_ID}/cart`] } }), "aud"],
  ["a list with something else in it", tokenWith({ claims: { aud: [AUDIENCE, 1] } }), "aud"],
  ["a list of 17", tokenWith({ claims: { aud: Array.from({ length: 17 }, () => AUDIENCE) } }), "aud"],
  ["no app_id", tokenWith({ claims: { app_id: undefined } }), "app_id"],
  ["an app_id that is none", tokenWith({ claims: { app_id: "shop" } }), "app_id"],
  ["another app", tokenWith({ claims: { app_id: "test.registry.alice.shop.7f8a9e" } }), "app_id"],
  ["no token_use", tokenWith({ claims: { token_use: undefined } }), "token_use"],
  ["an unknown token_use", tokenWith({ claims: { token_use: "admin" } }), "token_use"],
  ["a service token where a user's is due", signAccessToken(serviceClaims, authKey), "token_use"],
  ["no iat", tokenWith({ claims: { iat: undefined } }), "iat"],
  ["an iat with a fraction", tokenWith({ claims: { iat: NOW - 0.5 } }), "iat"],
  ["an iat that is a text", tokenWith({ claims: { iat: `${NOW}` } }), "iat"],
  ["an iat 31 s ahead", tokenWith({ claims: { iat: NOW + 31 } }), "iat"],
  ["no exp", tokenWith({ claims: { exp: undefined } }), "exp"],
  ["an exp that is null", tokenWith({ claims: { exp: null } }), "exp"],
  ["an exp of 1e400", rawToken(headerJson, claimsJson.replace(`"exp":${claims.exp}`, '"exp":1e400')), "exp"],
  ["a negative exp", tokenWith({ claims: { exp: -1 } }), "exp"],
  ["exp at iat", tokenWith({ claims: { exp: claims.iat } }), "exp"],
  ["a life of 15 min and 1 s", tokenWith({ claims: { exp: claims.iat + 901 } }), "exp"],
  ["an nbf 31 s ahead", tokenWith({ claims: { nbf: NOW + 31 } }), "nbf"],
  ["an nbf that is a text", tokenWith({ claims: { nbf: "now" } }), "nbf"],
  ["no jti", tokenWith({ claims: { jti: undefined } }), "jti"],
  ["an empty jti", tokenWith({ claims: { jti: "" } }), "jti"],
  ["a sid that is a number", tokenWith({ claims: { sid: 5 } }), "sid"],
  ["a client that is a number", tokenWith({ claims: { client_id: 7 } }), "client_id"],
  ["an empty client", tokenWith({ claims: { client_id: "" } }), "client_id"],
  ["a scope that is a list", tokenWith({ claims: { scope: ["read"] } }), "scope"],
  ["a scope with two spaces", tokenWith({ claims: { scope: "read  write" } }), "scope"],
  ["a cnf that is a text", tokenWith({ claims: { cnf: "x" } }), "cnf"],
  ["a cnf without jkt", tokenWith({ claims: { cnf: { jku: "https://evil.test" } } }), "cnf"],
  ["a cnf with a second method", tokenWith({ claims: { cnf: { jkt: otherKey.keyId, "x5t#S256": "x" } } }), "cnf"],
];

describe.each([
  ["verifyAccessToken", () => verifyAccessToken],
  ["createTokenVerifier", () => createTokenVerifier()],
])("%s", (_, make) => {
  const verify = make();

  test.each(badTokens)("refuses %s", async (_what, token, rule) => {
    expect(await outcomeOf(verify(token, expected))).toBe(`TOKEN_INVALID ${rule}`);
    // A second look is not kinder.
    expect(await outcomeOf(verify(token, expected))).toBe(`TOKEN_INVALID ${rule}`);
  });

  test("gives the claims of a good token", async () => {
    expect(await verify(good, expected)).toEqual(claims);
    expect(await verify(good, expected)).toEqual(claims);
  });

  test("gives all claims of a service token", async () => {
    const full = { ...serviceClaims, scope: "articles.read articles.write" };
    expect(await verify(signAccessToken(full, authKey), { ...expected, use: "service" })).toEqual(full);
  });

  test("wants to know the key that a service token is bound to", async () => {
    const { cnf: _cnf, ...unbound } = serviceClaims;
    const token = signAccessToken(unbound, authKey);
    expect(await outcomeOf(verify(token, { ...expected, use: "service" }))).toBe("TOKEN_INVALID cnf");
  });

  test("takes one of several audiences", async () => {
    const token = tokenWith({ claims: { aud: [`${APP_ID}/cart`, AUDIENCE] } });
    expect(await verify(token, expected)).toEqual(claims);
  });

  test("gives the client, and does without one", async () => {
    const named = { ...claims, client_id: APP_ID };
    expect(await verify(signAccessToken(named, authKey), expected)).toEqual(named);
    expect(await verify(good, expected)).not.toHaveProperty("client_id");
  });

  test("ignores claims that it doesn't know", async () => {
    const token = tokenWith({ claims: { azp: "web", auth_time: 5, roles: [{ name: "a" }, { name: "b" }] } });
    expect(await verify(token, expected)).toEqual(claims);
  });

  test("bears a clock that is 30 s behind", async () => {
    expect(await outcomeOf(verify(tokenWith({ claims: { iat: NOW + 30, nbf: NOW + 30 } }), expected))).toBe("accepted");
  });

  test.each([
    [claims.exp - 1, "accepted"],
    [claims.exp, "TOKEN_EXPIRED"],
    [claims.exp + 100_000, "TOKEN_EXPIRED"],
  ])("at %i", async (now, outcome) => {
    await verify(good, expected);
    expect(await outcomeOf(verify(good, { ...expected, now }))).toBe(outcome);
  });

  const keyCases: readonly [string, Partial<TokenExpectation>, string][] = [
    ["no key", { keys: [] }, "TOKEN_INVALID kid"],
    ["another key", { keys: [keyRecord(otherKey)] }, "TOKEN_INVALID kid"],
    ["the key behind another one", { keys: [keyRecord(otherKey), keyRecord(authKey)] }, "accepted"],
    ["the key in grace", { keys: [keyRecord(authKey, KeyStatus.GRACE, BigInt(NOW + 1))] }, "accepted"],
    [
      "the key at the end of its grace",
      { keys: [keyRecord(authKey, KeyStatus.GRACE, BigInt(NOW))] },
      "TOKEN_INVALID kid",
    ],
    ["the key without status", { keys: [keyRecord(authKey, KeyStatus.UNSPECIFIED)] }, "TOKEN_INVALID kid"],
    [
      "another key under the same ID",
      { keys: [{ ...keyRecord(otherKey), keyId: authKey.keyId }] },
      "TOKEN_INVALID signature",
    ],
    ["another issuer", { issuer: "https://other.test" }, "TOKEN_INVALID iss"],
    ["another audience", { audience: `${APP_ID}/cart` }, "TOKEN_INVALID aud"],
    ["another use", { use: "service" }, "TOKEN_INVALID token_use"],
  ];

  test.each(keyCases)("with %s, also after it was accepted once", async (_what, change, outcome) => {
    await verify(good, expected);
    expect(await outcomeOf(verify(good, { ...expected, ...change }))).toBe(outcome);
  });
});

test("a token that was verified is known when it is shown again, with what was concluded from it", async () => {
  const verify = createTokenVerifier<string>();
  const unverified = verify.show(good);
  unverified.conclusion = "nothing";
  expect(verify.show(good).conclusion).toBeUndefined();
  expect(await outcomeOf(verify.show(good).verify({ ...expected, keys: [] }))).toBe("TOKEN_INVALID kid");
  expect(verify.show(good).conclusion).toBeUndefined();
  const shown = verify.show(good);
  await shown.verify(expected);
  shown.conclusion = "let in";
  expect(verify.show(`${good} `.trimEnd()).conclusion).toBe("let in");
});

test("what only ends like a token that was verified is another one", async () => {
  const verify = createTokenVerifier<string>();
  const shown = verify.show(good);
  await shown.verify(expected);
  shown.conclusion = "let in";
  const [, otherPayload] = signAccessToken({ ...claims, sub: "user:mallory" }, authKey).split(".");
  const forged = `${goodHeader}.${otherPayload}.${goodSignature}`;
  expect(verify.show(forged).conclusion).toBeUndefined();
  expect(await outcomeOf(verify(forged, expected))).toBe("TOKEN_INVALID signature");
  expect(verify.show(good).conclusion).toBe("let in");
});

test.each([
  ["active", keyRecord(authKey), claims.exp],
  ["in grace", keyRecord(authKey, KeyStatus.GRACE, BigInt(NOW + 1)), NOW + 1],
  ["in grace for longer than the token lives", keyRecord(authKey, KeyStatus.GRACE, BigInt(claims.exp + 1)), claims.exp],
])("tells when it would accept a token again, while its key is %s", async (_what, key, until) => {
  const verify = createTokenVerifier();
  const receiver = { ...expected, keys: [key] };
  const accepted = await verify.show(good).verify(receiver);
  expect(accepted).toEqual({ claims, from: claims.iat - 30, until });
  const at = (now: number) => outcomeOf(verify(good, { ...receiver, now }));
  expect([await at(accepted.from), await at(until - 1)]).toEqual(["accepted", "accepted"]);
  expect([await at(accepted.from - 1), await at(until)]).not.toContain("accepted");
});

test("a token is accepted from its nbf on, if that is later than its iat", async () => {
  const token = tokenWith({ claims: { nbf: claims.iat + 5 } });
  expect((await createTokenVerifier().show(token).verify(expected)).from).toBe(claims.iat + 5 - 30);
});

test("a bounded verifier forgets tokens and takes them again", async () => {
  const verify = createTokenVerifier({ capacity: 1 });
  const second = signAccessToken({ ...claims, jti: "j-2" }, authKey);
  for (const token of [good, second, good]) expect(await outcomeOf(verify(token, expected))).toBe("accepted");
});

describe("together with jose", () => {
  const jwk = (key: SigningKey) => ({
    kty: "OKP",
    crv: "Ed25519",
    x: toBase64Url(key.publicKey),
    kid: key.keyId,
    use: "sig",
    alg: "EdDSA",
  });

  test("jose verifies our token", async () => {
    const keySet = createLocalJWKSet({ keys: [jwk(otherKey), jwk(authKey)] });
    const { payload, protectedHeader } = await jwtVerify(good, keySet, {
      issuer: ISSUER,
      audience: AUDIENCE,
      typ: "at+jwt",
      algorithms: ["EdDSA"],
      currentDate: new Date(NOW * 1000),
    });
    expect(payload).toEqual(claims);
    expect(protectedHeader).toEqual({ alg: "EdDSA", typ: "at+jwt", kid: authKey.keyId });
  });

  test("we verify jose's token", async () => {
    const privateJwk = { ...jwk(authKey), d: toBase64Url(exportSeed(authKey)) };
    const token = await new SignJWT({ ...claims })
      .setProtectedHeader({ kid: authKey.keyId, typ: "at+jwt", alg: "EdDSA" })
      .sign(await importJWK(privateJwk, "EdDSA"));
    expect(await verifyAccessToken(token, expected)).toEqual(claims);
  });
});
