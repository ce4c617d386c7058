import { describe, expect, test } from "vitest";
import type { TokenSet } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { type KeyRecord, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { authMigrations } from "../../src/auth/migrations.ts";
import { isRefusal } from "../../src/core/refusal.ts";
import { keyIdOf } from "../../src/statement/key-id.ts";
import { openDatabase } from "../../src/store/database.ts";
import { verifyAccessToken } from "../../src/token/access-token.ts";
import type { AccessTokenClaims } from "../../src/token/claims.ts";
import { bindTestService, present, registerTestApp, suspendOf, type TestApp, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { startRegistry } from "../support/registry.ts";
import {
  announce,
  cheapHash,
  outcomeOf,
  provision,
  provisionOf,
  type RunningProvider,
  SERVICE_ID,
  startAnnouncedMesh,
  startMesh,
  startProvider,
  untilHeard,
} from "./support.ts";

const password = "correct horse battery";

function signUp({ users }: RunningProvider, { appId }: TestApp, userName = "alice") {
  return users.signUp({ appId, userName, password });
}

async function signIn(
  { users }: RunningProvider,
  { appId }: TestApp,
  changes: { userName?: string; password?: string; serviceId?: string } = {},
): Promise<TokenSet> {
  const response = await users.signIn({ appId, userName: "alice", password, serviceId: SERVICE_ID, ...changes });
  return present(response.tokens);
}

async function refresh(
  { users }: RunningProvider,
  { appId }: TestApp,
  refreshToken: string,
  serviceId = SERVICE_ID,
): Promise<TokenSet> {
  return present((await users.refreshToken({ appId, refreshToken, serviceId })).tokens);
}

/** What a service reads in a token. */
function claimsOf(
  { clock }: RunningProvider,
  { appId }: TestApp,
  authPublicKey: Uint8Array,
  { accessToken }: TokenSet,
  serviceId = SERVICE_ID,
): Promise<AccessTokenClaims> {
  const key = { publicKey: authPublicKey, keyId: keyIdOf(authPublicKey), status: KeyStatus.ACTIVE } as KeyRecord;
  return verifyAccessToken(accessToken, {
    keys: [key],
    issuer: `http://auth.test/apps/${appId}`,
    audience: `${appId}/${serviceId}`,
    use: "user",
    now: clock.seconds(),
  });
}

async function retryAfter(call: Promise<unknown>): Promise<number> {
  try {
    await call;
  } catch (error) {
    if (isRefusal(error)) return Number(error.metadata.retry_after_seconds);
  }
  return Number.NaN;
}

describe("sign-up", () => {
  test("gives a subject, and a session begins with the password", async () => {
    const { provider, app, answer } = await startAnnouncedMesh();
    const { subject } = await signUp(provider, app);
    expect(subject).toMatch(/^user:[A-Za-z0-9_-]{22}$/);
    const claims = await claimsOf(provider, app, answer.authPublicKey, await signIn(provider, app));
    expect(claims.sub).toBe(subject);
  });

  test.each([
    ["ALICE", "capitals"],
    ["\uff21lice", "full-width letters"],
    ["a\u{1d425}ice", "mathematical letters"],
  ])("knows %s as the same name (%s)", async (userName) => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    expect(await outcomeOf(signUp(provider, app, userName))).toBe("USER_EXISTS");
    await signIn(provider, app, { userName });
  });

  test.each([
    ["", "FIELD_INVALID user_name required"],
    [" alice", "FIELD_INVALID user_name format"],
    ["alice\u00a0", "FIELD_INVALID user_name format"],
    ["al\u200bice", "FIELD_INVALID user_name format"],
    ["al\u0000ice", "FIELD_INVALID user_name format"],
    ["\ufdfa".repeat(20), "FIELD_INVALID user_name max_length"],
    ["a".repeat(255), "FIELD_INVALID user_name max_length"],
  ])("refuses the name %j", async (userName, outcome) => {
    const { provider, app } = await startAnnouncedMesh();
    expect(await outcomeOf(signUp(provider, app, userName))).toBe(outcome);
  });

  test.each([
    ["", "FIELD_INVALID password required"],
    ["1234567", "FIELD_INVALID password min_length"],
    ["x".repeat(257), "FIELD_INVALID password max_length"],
  ])("refuses a password of %j", async (short, outcome) => {
    const { provider, app } = await startAnnouncedMesh();
    const { appId } = app;
    expect(await outcomeOf(provider.users.signUp({ appId, userName: "bob", password: short }))).toBe(outcome);
  });

  test("makes one user of two calls at the same time", async () => {
    const { provider, app } = await startAnnouncedMesh();
    const outcomes = await Promise.all([outcomeOf(signUp(provider, app)), outcomeOf(signUp(provider, app))]);
    expect(outcomes.sort()).toEqual(["USER_EXISTS", "ok"]);
  });

  test("is refused where it is closed, and where there is no tenant", async () => {
    const { registry, provider, app } = await startAnnouncedMesh({ signUp: "closed" });
    expect(await outcomeOf(signUp(provider, app))).toBe("SIGN_UP_CLOSED");
    expect(await outcomeOf(signUp(provider, await registerTestApp(registry)))).toBe("TENANT_UNKNOWN");
  });

  test("is bounded by source, and taken names count too", async () => {
    const throttle = { account: { burst: 10, intervalSeconds: 60 }, source: { burst: 2, intervalSeconds: 5 } };
    const { provider, app } = await startAnnouncedMesh({ throttle });
    await signUp(provider, app);
    expect(await outcomeOf(signUp(provider, app))).toBe("USER_EXISTS");
    expect(await retryAfter(signUp(provider, app, "bob"))).toBe(5);
    provider.clock.advance(5);
    await signUp(provider, app, "bob");
  });
});

describe("sign-in", () => {
  test("issues a token for one service, for 15 minutes", async () => {
    const { provider, app, answer } = await startAnnouncedMesh();
    const { subject } = await signUp(provider, app);
    const tokens = await signIn(provider, app);
    const now = provider.clock.seconds();
    const claims = await claimsOf(provider, app, answer.authPublicKey, tokens);
    expect(claims).toEqual({
      iss: `http://auth.test/apps/${app.appId}`,
      sub: subject,
      aud: `${app.appId}/${SERVICE_ID}`,
      app_id: app.appId,
      client_id: app.appId,
      token_use: "user",
      iat: now,
      exp: now + 900,
      jti: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
      sid: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
    });
    expect(tokens.accessTokenExpiresAt).toBe(BigInt(now + 900));
    expect(tokens.refreshTokenExpiresAt).toBe(BigInt(now + 30 * 86_400));
    const next = await claimsOf(provider, app, answer.authPublicKey, await signIn(provider, app));
    expect(next.sid).not.toBe(claims.sid);
    expect(next.jti).not.toBe(claims.jti);
  });

  test.each([
    [60, 60],
    [3600, 900],
  ])("with a life of %i s configured gives %i s", async (tokenLifeSeconds, given) => {
    const { provider, app } = await startAnnouncedMesh({ tokenLifeSeconds });
    await signUp(provider, app);
    const { accessTokenExpiresAt } = await signIn(provider, app);
    expect(accessTokenExpiresAt).toBe(BigInt(provider.clock.seconds() + given));
  });

  test("tells no difference between an unknown user and a wrong password", async () => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    expect(await outcomeOf(signIn(provider, app, { password: "wrong" }))).toBe("CREDENTIALS_INVALID");
    expect(await outcomeOf(signIn(provider, app, { userName: "bob" }))).toBe("CREDENTIALS_INVALID");
  });

  test("takes a password as it is, without normalising", async () => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    expect(await outcomeOf(signIn(provider, app, { password: password.toUpperCase() }))).toBe("CREDENTIALS_INVALID");
    expect(await outcomeOf(signIn(provider, app, { password: `${password} ` }))).toBe("CREDENTIALS_INVALID");
  });

  test("knows the users of one app in that app alone", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    const other = await registerTestApp(registry);
    await announce(provider, other);
    await bindTestService(registry, other, SERVICE_ID);
    await signUp(provider, app);
    expect(await outcomeOf(signIn(provider, other))).toBe("CREDENTIALS_INVALID");
    await signUp(provider, other);
    await signIn(provider, other);
  });

  test("raises the cost of an old hash", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    const { registry, provider, app } = await startAnnouncedMesh({ databaseFile });
    await signUp(provider, app);
    await provider.stop();
    const dearer = await startProvider(registry, { databaseFile, passwordHash: { ...cheapHash, passes: 2 } });
    await signIn(dearer, app);
    await dearer.stop();
    const db = openDatabase(databaseFile, authMigrations);
    const hash = db.prepare("SELECT password FROM users").pluck().get();
    db.close();
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=8,t=2,p=1\$/);
    const again = await startProvider(registry, { databaseFile });
    await signIn(again, app);
    expect(await outcomeOf(signIn(again, app, { password: "wrong" }))).toBe("CREDENTIALS_INVALID");
  });

  test("keeps a bounded number of sessions: the oldest ends", async () => {
    const throttle = { account: { burst: 500, intervalSeconds: 1 }, source: { burst: 500, intervalSeconds: 1 } };
    const { provider, app } = await startAnnouncedMesh({ throttle });
    await signUp(provider, app);
    const first = await signIn(provider, app);
    provider.clock.advance(1);
    const second = await signIn(provider, app);
    for (let i = 0; i < 98; i++) await signIn(provider, app);
    const { refreshToken: oldest } = await refresh(provider, app, first.refreshToken);
    const last = await signIn(provider, app);
    expect(await outcomeOf(refresh(provider, app, oldest))).toBe("REFRESH_TOKEN_INVALID");
    for (const { refreshToken } of [second, last]) await refresh(provider, app, refreshToken);
  });
});

describe("throttle", () => {
  const throttle = { account: { burst: 3, intervalSeconds: 60 }, source: { burst: 100, intervalSeconds: 1 } };

  test("slows down guessing at an account, the right password included, and lets go with time", async () => {
    const { provider, app } = await startAnnouncedMesh({ throttle });
    await signUp(provider, app);
    for (let i = 0; i < 3; i++) await outcomeOf(signIn(provider, app, { password: "wrong" }));
    expect(await outcomeOf(signIn(provider, app))).toBe("RATE_LIMITED");
    provider.clock.advance(20);
    expect(await retryAfter(signIn(provider, app))).toBe(40);
    provider.clock.advance(40);
    await signIn(provider, app);
    // A success forgets the failures.
    for (let i = 0; i < 3; i++) {
      expect(await outcomeOf(signIn(provider, app, { password: "wrong" }))).toBe("CREDENTIALS_INVALID");
    }
  });

  test("counts attempts that are made at the same time", async () => {
    const { provider, app } = await startAnnouncedMesh({ throttle });
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => outcomeOf(signIn(provider, app, { password: "wrong" }))),
    );
    expect(outcomes.filter((outcome) => outcome === "CREDENTIALS_INVALID")).toHaveLength(3);
    expect(outcomes.filter((outcome) => outcome === "RATE_LIMITED")).toHaveLength(5);
  });

  test("treats unknown names as known ones, and other spellings as the same", async () => {
    const { provider, app } = await startAnnouncedMesh({ throttle });
    for (const userName of ["bob", "BOB", "Bob"]) await outcomeOf(signIn(provider, app, { userName }));
    expect(await outcomeOf(signIn(provider, app, { userName: "bob" }))).toBe("RATE_LIMITED");
    expect(await outcomeOf(signIn(provider, app, { userName: "carol" }))).toBe("CREDENTIALS_INVALID");
  });

  test("is not forgotten over a restart", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    const { registry, provider, app } = await startAnnouncedMesh({ throttle, databaseFile });
    for (let i = 0; i < 3; i++) await outcomeOf(signIn(provider, app, { password: "wrong" }));
    await provider.stop();
    const again = await startProvider(registry, { throttle, databaseFile });
    expect(await outcomeOf(signIn(again, app, { password: "wrong" }))).toBe("RATE_LIMITED");
  });

  test("slows down a source that tries many accounts, but not one whose users know their passwords", async () => {
    const bySource = { account: { burst: 100, intervalSeconds: 1 }, source: { burst: 3, intervalSeconds: 60 } };
    const { provider, app } = await startAnnouncedMesh({ throttle: bySource });
    await signUp(provider, app);
    for (let i = 0; i < 5; i++) await signIn(provider, app);
    for (const userName of ["bob", "carol"]) await outcomeOf(signIn(provider, app, { userName }));
    expect(await outcomeOf(signIn(provider, app, { userName: "dave" }))).toBe("RATE_LIMITED");
  });
});

describe("the app at its registry", () => {
  test("has not announced the keys: AUTH_MISSING, and then at once not any more", async () => {
    const { registry, provider, app } = await startMesh();
    await provision(provider, provisionOf(provider, app));
    await bindTestService(registry, app, SERVICE_ID);
    await signUp(provider, app);
    expect(await outcomeOf(signIn(provider, app))).toBe("AUTH_MISSING");
    await announce(provider, app);
    provider.clock.advance(1);
    await signIn(provider, app);
  });

  test("lets the newest announced key sign, and the one before verify for as long as its tokens live", async () => {
    const { provider, app, answer } = await startAnnouncedMesh();
    await signUp(provider, app);
    const before = await signIn(provider, app);
    const pending = (await provision(provider, provisionOf(provider, app))).message;
    await claimsOf(provider, app, answer.authPublicKey, await signIn(provider, app));
    const after = await announce(provider, app);
    expect(after.authPublicKey).toEqual(pending.authPublicKey);
    provider.clock.advance(11);
    const tokens = await refresh(provider, app, before.refreshToken);
    await claimsOf(provider, app, after.authPublicKey, tokens);
    await claimsOf(provider, app, answer.authPublicKey, before);
  });

  test("has suspended the Auth Provider: AUTH_MISSING, until new keys are announced", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    const tokens = await signIn(provider, app);
    const service = { app, serviceId: "auth", key: app.master };
    await registry.registry.suspendService({ statement: suspendOf(provider.clock, service) });
    provider.clock.advance(11);
    expect(await outcomeOf(signIn(provider, app))).toBe("AUTH_MISSING");
    expect(await outcomeOf(refresh(provider, app, tokens.refreshToken))).toBe("AUTH_MISSING");
    await announce(provider, app);
    provider.clock.advance(11);
    await refresh(provider, app, tokens.refreshToken);
  });

  test("doesn't have the service: SERVICE_UNKNOWN", async () => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    expect(await outcomeOf(signIn(provider, app, { serviceId: "cart" }))).toBe("SERVICE_UNKNOWN");
  });

  test("has suspended the service, and then unbound it", async () => {
    const { registry, provider, app, service } = await startAnnouncedMesh();
    await signUp(provider, app);
    const { refreshToken } = await signIn(provider, app);
    await registry.registry.suspendService({ statement: suspendOf(provider.clock, service) });
    provider.clock.advance(11);
    expect(await outcomeOf(signIn(provider, app))).toBe("SERVICE_SUSPENDED");
    // The refresh token isn't spent by a refusal.
    expect(await outcomeOf(refresh(provider, app, refreshToken))).toBe("SERVICE_SUSPENDED");
    await registry.registry.unbindService({ statement: unbindOf(provider.clock, service) });
    provider.clock.advance(11);
    expect(await outcomeOf(signIn(provider, app))).toBe("SERVICE_REVOKED");
    await bindTestService(registry, app, "cart");
    await refresh(provider, app, refreshToken, "cart");
  });

  test("can't be asked: tokens go on for seconds, then VIEW_STALE", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    await untilHeard(provider, app);
    const { refreshToken } = await signIn(provider, app);
    await registry.stop();
    expect(await outcomeOf(signIn(provider, app))).toBe("ok");
    provider.clock.advance(11);
    expect(await outcomeOf(signIn(provider, app))).toBe("VIEW_STALE");
    expect(await outcomeOf(refresh(provider, app, refreshToken))).toBe("VIEW_STALE");
    // The password was right, whatever the registry does.
    for (let i = 0; i < 12; i++) expect(await outcomeOf(signIn(provider, app))).toBe("VIEW_STALE");
  });

  test("could never be asked: REGISTRY_UNAVAILABLE", async () => {
    const folder = temporaryFolder();
    const databaseFile = `${folder}/auth.db`;
    const registry = await startRegistry({ databaseFile: `${folder}/registry.db` });
    const provider = await startProvider(registry, { databaseFile });
    const app = await registerTestApp(registry);
    await announce(provider, app);
    await signUp(provider, app);
    await provider.stop();
    await registry.stop();
    const again = await startProvider(registry, { databaseFile });
    expect(await outcomeOf(signIn(again, app))).toBe("REGISTRY_UNAVAILABLE");
  });
});

describe("refresh tokens", () => {
  test("work once each, and keep the session", async () => {
    const { registry, provider, app, answer } = await startAnnouncedMesh();
    await bindTestService(registry, app, "cart");
    await signUp(provider, app);
    const first = await signIn(provider, app);
    const second = await refresh(provider, app, first.refreshToken);
    const third = await refresh(provider, app, second.refreshToken, "cart");
    const [a, b, c] = await Promise.all([
      claimsOf(provider, app, answer.authPublicKey, first),
      claimsOf(provider, app, answer.authPublicKey, second),
      claimsOf(provider, app, answer.authPublicKey, third, "cart"),
    ]);
    expect(new Set([a.sid, b.sid, c.sid]).size).toBe(1);
    expect(new Set([a.jti, b.jti, c.jti]).size).toBe(3);
    expect(c.sub).toBe(a.sub);
  });

  test("that are used again end their session, and no other", async () => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    const other = await signIn(provider, app);
    const first = await signIn(provider, app);
    const second = await refresh(provider, app, first.refreshToken);
    const third = await refresh(provider, app, second.refreshToken);
    expect(await outcomeOf(refresh(provider, app, first.refreshToken))).toBe("REFRESH_TOKEN_INVALID");
    expect(await outcomeOf(refresh(provider, app, third.refreshToken))).toBe("REFRESH_TOKEN_INVALID");
    await refresh(provider, app, other.refreshToken);
  });

  test("that are used twice at the same time end their session", async () => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    const { refreshToken } = await signIn(provider, app);
    const calls = [refresh(provider, app, refreshToken), refresh(provider, app, refreshToken)];
    const outcomes = await Promise.all(calls.map(outcomeOf));
    expect(outcomes.sort()).toEqual(["REFRESH_TOKEN_INVALID", "ok"]);
    const winner = (await Promise.allSettled(calls)).find((result) => result.status === "fulfilled");
    const next = present(winner).value.refreshToken;
    expect(await outcomeOf(refresh(provider, app, next))).toBe("REFRESH_TOKEN_INVALID");
  });

  test("end after 30 days without use", async () => {
    const { provider, app } = await startAnnouncedMesh();
    await signUp(provider, app);
    const month = 30 * 86_400;
    const first = await signIn(provider, app);
    provider.clock.advance(month - 1);
    const second = await refresh(provider, app, first.refreshToken);
    provider.clock.advance(month);
    expect(await outcomeOf(refresh(provider, app, second.refreshToken))).toBe("REFRESH_TOKEN_INVALID");
  });

  test("of another app, of nobody and of no form are refused", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    const other = await registerTestApp(registry);
    await announce(provider, other);
    await signUp(provider, app);
    const { refreshToken } = await signIn(provider, app);
    expect(await outcomeOf(refresh(provider, other, refreshToken))).toBe("REFRESH_TOKEN_INVALID");
    expect(await outcomeOf(refresh(provider, app, "A".repeat(64)))).toBe("REFRESH_TOKEN_INVALID");
    expect(await outcomeOf(refresh(provider, app, "a token"))).toBe("REFRESH_TOKEN_INVALID");
    expect(await outcomeOf(refresh(provider, app, "x".repeat(257)))).toBe("FIELD_INVALID refresh_token max_length");
    // None of it hurt the session.
    await refresh(provider, app, refreshToken);
  });

  test("survive a restart", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    const { registry, provider, app } = await startAnnouncedMesh({ databaseFile });
    await signUp(provider, app);
    const { refreshToken } = await signIn(provider, app);
    await provider.stop();
    await refresh(await startProvider(registry, { databaseFile }), app, refreshToken);
  });
});

describe("sign-out", () => {
  test("ends the session with its latest refresh token, or an older one", async () => {
    const { provider, app } = await startAnnouncedMesh();
    const { appId } = app;
    await signUp(provider, app);
    const latest = await signIn(provider, app);
    await provider.users.signOut({ appId, refreshToken: latest.refreshToken });
    expect(await outcomeOf(refresh(provider, app, latest.refreshToken))).toBe("REFRESH_TOKEN_INVALID");

    const older = await signIn(provider, app);
    const newer = await refresh(provider, app, older.refreshToken);
    await provider.users.signOut({ appId, refreshToken: older.refreshToken });
    expect(await outcomeOf(refresh(provider, app, newer.refreshToken))).toBe("REFRESH_TOKEN_INVALID");
  });

  test("is done if there is no such session, but not without a tenant", async () => {
    const { registry, provider, app } = await startAnnouncedMesh();
    const refreshToken = "A".repeat(64);
    expect(await outcomeOf(provider.users.signOut({ appId: app.appId, refreshToken }))).toBe("ok");
    expect(await outcomeOf(provider.users.signOut({ appId: app.appId, refreshToken: "x" }))).toBe("ok");
    const { appId } = await registerTestApp(registry);
    expect(await outcomeOf(provider.users.signOut({ appId, refreshToken }))).toBe("TENANT_UNKNOWN");
  });
});
