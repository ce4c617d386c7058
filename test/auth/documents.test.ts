import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createRemoteJWKSet, customFetch, jwtVerify } from "jose";
import { describe, expect, test } from "vitest";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { toBase64Url } from "../../src/core/bytes.ts";
import { keyIdOf } from "../../src/statement/key-id.ts";
import { present, registerTestApp, suspendOf, type TestApp } from "../support/developer.ts";
import { providers } from "../support/registry.ts";
import {
  announce,
  outcomeOf,
  provision,
  provisionOf,
  type RunningProvider,
  SERVICE_ID,
  startAnnouncedMesh,
  startMesh,
  terminateOf,
} from "./support.ts";

const issuerOf = ({ appId }: TestApp) => `http://auth.test/apps/${appId}`;

/** Fetches a URL of the provider from where it really listens. */
function get({ url }: RunningProvider, address: string, init: RequestInit = {}): Promise<Response> {
  return fetch(address.replace("http://auth.test", url), init);
}

async function discover(provider: RunningProvider, app: TestApp): Promise<Record<string, unknown>> {
  const response = await get(provider, `${issuerOf(app)}/.well-known/openid-configuration`);
  return (await response.json()) as Record<string, unknown>;
}

async function keySet(provider: RunningProvider, app: TestApp): Promise<unknown> {
  const response = await get(provider, `${issuerOf(app)}/.well-known/jwks.json`);
  return ((await response.json()) as { keys: unknown }).keys;
}

function jwk(publicKey: Uint8Array) {
  const kid = keyIdOf(publicKey);
  return { kty: "OKP", crv: "Ed25519", x: toBase64Url(publicKey), kid, use: "sig", alg: "EdDSA" };
}

async function tokenOf({ users }: RunningProvider, { appId }: TestApp): Promise<string> {
  const credentials = { appId, userName: "alice", password: "correct horse battery" };
  await users.signUp(credentials);
  return present((await users.signIn({ ...credentials, serviceId: SERVICE_ID })).tokens).accessToken;
}

test("a JWT library that knows the issuer alone verifies a user's token", async () => {
  const { provider, app } = await startAnnouncedMesh();
  const token = await tokenOf(provider, app);
  const configuration = await discover(provider, app);
  expect(configuration.issuer).toBe(issuerOf(app));
  const keys = createRemoteJWKSet(new URL(String(configuration.jwks_uri)), {
    [customFetch]: (url: string, options: RequestInit) => get(provider, url, options),
  });
  const { payload } = await jwtVerify(token, keys, {
    issuer: issuerOf(app),
    audience: `${app.appId}/${SERVICE_ID}`,
    typ: "at+jwt",
    // What RFC 9068 section 2.2 demands.
    requiredClaims: ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"],
    currentDate: new Date(provider.clock.now()),
  });
  expect(payload.client_id).toBe(app.appId);
  expect(payload.app_id).toBe(app.appId);
  // Every claim is one that the document names.
  expect(configuration.claims_supported).toEqual(expect.arrayContaining(Object.keys(payload)));
});

describe("the key set", () => {
  test("holds a key from the answer on, and the next one before it signs", async () => {
    const { provider, app } = await startMesh();
    const first = (await provision(provider, provisionOf(provider, app))).message;
    expect(await keySet(provider, app)).toEqual([jwk(first.authPublicKey)]);
    const active = await announce(provider, app);
    expect(active.authPublicKey).toEqual(first.authPublicKey);
    const next = (await provision(provider, provisionOf(provider, app))).message;
    expect(await keySet(provider, app)).toEqual([jwk(next.authPublicKey), jwk(first.authPublicKey)]);
  });

  test("drops a replaced key once its last token has expired", async () => {
    const { provider, app, answer } = await startAnnouncedMesh();
    const next = await announce(provider, app);
    provider.clock.advance(11);
    expect(await keySet(provider, app)).toEqual([jwk(next.authPublicKey), jwk(answer.authPublicKey)]);
    provider.clock.advance(900);
    expect(await keySet(provider, app)).toEqual([jwk(next.authPublicKey)]);
  });

  test("is empty once the developer has suspended the provider", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    const service = { app, serviceId: "auth", key: app.master };
    await registry.registry.suspendService({ statement: suspendOf(provider.clock, service) });
    provider.clock.advance(11);
    expect(await keySet(provider, app)).toEqual([]);
  });

  test("isn't served from memory when the registry can't be asked", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    await keySet(provider, app);
    await registry.stop();
    provider.clock.advance(11);
    expect((await get(provider, `${issuerOf(app)}/.well-known/jwks.json`)).status).toBe(503);
  });
});

test("both places of the discovery document say the same, and nothing that isn't true", async () => {
  const { provider, app } = await startAnnouncedMesh();
  const elsewhere = `http://auth.test/.well-known/oauth-authorization-server/apps/${app.appId}`;
  expect(await (await get(provider, elsewhere)).json()).toEqual(await discover(provider, app));
  expect(Object.keys(await discover(provider, app)).sort()).toEqual([
    "claims_supported",
    "id_token_signing_alg_values_supported",
    "issuer",
    "jwks_uri",
    "subject_types_supported",
  ]);
});

test("documents may be cached for a minute, and read by web pages", async () => {
  const { provider, app } = await startAnnouncedMesh();
  for (const path of ["jwks.json", "openid-configuration"]) {
    const { status, headers } = await get(provider, `${issuerOf(app)}/.well-known/${path}`);
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("cache-control")).toBe("public, max-age=60");
    expect(headers.get("access-control-allow-origin")).toBe("*");
  }
});

test("there are no documents of apps that aren't served", async () => {
  const { registry, provider, app } = await startAnnouncedMesh();
  const other = await registerTestApp(registry);
  await provider.tenancy.terminateService({ statement: terminateOf(provider, app) });
  for (const address of [
    `${issuerOf(other)}/.well-known/jwks.json`,
    `${issuerOf(app)}/.well-known/jwks.json`,
    `${issuerOf(app)}/.well-known/openid-configuration`,
    `http://auth.test/.well-known/oauth-authorization-server/apps/${app.appId}`,
    "http://auth.test/apps/shop/.well-known/jwks.json",
    "http://auth.test/apps//.well-known/jwks.json",
    "http://auth.test/apps/.well-known/jwks.json",
    issuerOf(app),
  ]) {
    expect((await get(provider, address)).status, address).toBe(404);
  }
});

test("the provider's domain describes itself", async () => {
  const { provider } = await startMesh();
  const response = await get(provider, "http://auth.test/.well-known/omi");
  const entry = fromJson(DirectoryEntrySchema, (await response.json()) as JsonValue);
  expect(entry).toMatchObject({ domain: "auth.test", party: Party.AUTH_PROVIDER, baseUrl: "http://auth.test" });
  expect(entry.keys.map(({ publicKey }) => publicKey)).toEqual([providers.auth.key.publicKey]);
});

test("a base URL with a path leads to issuers below it", async () => {
  const { provider, app } = await startMesh({ baseUrl: "http://login.auth.test/omi" });
  const { message } = await provision(provider, provisionOf(provider, app));
  expect(message.authProviderUrl).toBe(`http://login.auth.test/omi/apps/${app.appId}`);
  for (const path of [
    `/omi/apps/${app.appId}/.well-known/jwks.json`,
    `/omi/apps/${app.appId}/.well-known/openid-configuration`,
    `/.well-known/oauth-authorization-server/omi/apps/${app.appId}`,
  ]) {
    expect((await fetch(`${provider.url}${path}`)).status, path).toBe(200);
  }
});

test("a base URL that isn't at or below the domain is a mistake", async () => {
  for (const baseUrl of ["https://auth.test.evil.example", "https://other.test", "auth.test", "https://auth.test/?x"]) {
    await expect(startMesh({ baseUrl }), baseUrl).rejects.toThrow(RangeError);
  }
});

test("nobody is asked for a key set by a stranger's path", async () => {
  const { provider } = await startMesh();
  const elsewhere = "test.elsewhere.alice.shop.7f8a9d";
  const path = `http://auth.test/apps/${elsewhere}/.well-known/jwks.json`;
  expect((await get(provider, path)).status).toBe(404);
  expect(await outcomeOf(provider.users.signUp({ appId: elsewhere, userName: "bob", password: "12345678" }))).toBe(
    "TENANT_UNKNOWN",
  );
});
