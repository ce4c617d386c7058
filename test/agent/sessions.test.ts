import { create } from "@bufbuild/protobuf";
import BetterSqlite3 from "better-sqlite3";
import { describe, expect, test, vi } from "vitest";
import { SessionRevokedSchema } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import type { AgentOptions } from "../../src/agent/agent.ts";
import { sessionFailpoints } from "../../src/agent/failpoints.ts";
import { agentMigrations } from "../../src/agent/migration.ts";
import { SessionRevocations } from "../../src/agent/session-revocations.ts";
import { createViews } from "../../src/directory/views.ts";
import { openDatabase } from "../../src/store/database.ts";
import { announce, startProvider } from "../auth/support.ts";
import { connectionsTo } from "../directory/support.ts";
import { temporaryFolder } from "../support/files.ts";
import { providers } from "../support/registry.ts";
import { startCallingMesh } from "./calls.ts";
import { accepts, passTime, type SessionWorld, signIn, startSessionWorld } from "./session-world.ts";

test("what happened while the agent was away is known when it is back, and what it knew it still knows", async () => {
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const world = await startSessionWorld({ databaseFile });
  const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
  await alice.signOut();
  await vi.waitFor(async () => expect(await accepts(world.article, alice.accessToken)).toBe("TOKEN_REVOKED"));
  await world.article.stop();
  await bob.signOut();
  const again = await world.startAgent(providers.article, { databaseFile });
  expect(await accepts(again, alice.accessToken)).toBe("TOKEN_REVOKED");
  await again.agent.start();
  await vi.waitFor(async () => expect(await accepts(again, bob.accessToken)).toBe("TOKEN_REVOKED"));
});

test("a stream outlives the token that it began with, a rotation of the Auth Provider's key, and its restart", async () => {
  const databaseFile = `${temporaryFolder()}/auth.db`;
  const world = await startSessionWorld({}, { databaseFile });
  const { registry, auth, app, article } = world;
  passTime(world);
  await announce(auth, app);
  registry.clock.advance(901);
  const ended = async (each: SessionWorld) => {
    const user = await signIn(each);
    await user.signOut();
    await vi.waitFor(async () => expect(await accepts(article, user.accessToken)).toBe("TOKEN_REVOKED"), 5000);
  };
  await ended(world);
  await auth.stop();
  const back = await startProvider(registry, { databaseFile });
  world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: new URL(back.url).host });
  await ended({ ...world, auth: back });
});

/** An Auth Provider that counts from the beginning again, and an agent that knows of two ends of sessions by its earlier count. */
async function startCountingAnew(options: Partial<AgentOptions> = {}) {
  const databaseFile = `${temporaryFolder()}/auth.db`;
  const world = await startSessionWorld(options, { databaseFile });
  const alice = await signIn(world);
  await (await signIn(world)).signOut();
  await alice.signOut();
  await vi.waitFor(async () => expect(await accepts(world.article, alice.accessToken)).toBe("TOKEN_REVOKED"));
  await world.auth.stop();
  const db = new BetterSqlite3(databaseFile);
  db.exec("DELETE FROM session_heads; DELETE FROM session_events");
  db.close();
  const auth = await startProvider(world.registry, { databaseFile });
  world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: new URL(auth.url).host });
  return { world: { ...world, auth }, alice };
}

test("an Auth Provider that counts from the beginning again is followed from the beginning", async () => {
  const { world, alice } = await startCountingAnew();
  const bob = await signIn(world, "bob");
  await bob.signOut();
  passTime(world);
  await vi.waitFor(async () => expect(await accepts(world.article, bob.accessToken)).toBe("TOKEN_REVOKED"), 5000);
  expect(await accepts(world.article, alice.accessToken)).toBe("TOKEN_REVOKED");
});

test("it is so in the end also if that can't be put on disk at first", async () => {
  let failures = 0;
  const failpoint = (at: string) => {
    if (at !== "session.advance.before-commit" || failures === 1) return;
    failures++;
    throw new Error("the disk is full");
  };
  const { world } = await startCountingAnew({ failpoint });
  const bob = await signIn(world, "bob");
  await bob.signOut();
  passTime(world);
  await vi.waitFor(async () => expect(await accepts(world.article, bob.accessToken)).toBe("TOKEN_REVOKED"), 5000);
  expect(failures).toBe(1);
});

describe("a crash", () => {
  /** Throws once, at a failpoint. */
  function crashAt(name: string) {
    const crash = { happened: false };
    const failpoint = (at: string) => {
      if (at !== name || crash.happened) return;
      crash.happened = true;
      throw new Error(`crashed at ${at}`);
    };
    return { crash, failpoint };
  }

  test.each(sessionFailpoints.slice(0, 2))("at %s loses no end of a session", async (name) => {
    const databaseFile = `${temporaryFolder()}/agent.db`;
    const { crash, failpoint } = crashAt(name);
    const world = await startSessionWorld({ databaseFile, failpoint });
    const alice = await signIn(world);
    await alice.signOut();
    await vi.waitFor(() => expect(crash.happened).toBe(true));
    await world.article.stop();
    const again = await world.startAgent(providers.article, { databaseFile });
    await again.agent.start();
    await vi.waitFor(async () => expect(await accepts(again, alice.accessToken)).toBe("TOKEN_REVOKED"));
  });

  test.each(sessionFailpoints.slice(2))("at %s, behind ends that have expired, loses none that comes", async (name) => {
    const databaseFile = `${temporaryFolder()}/agent.db`;
    const world = await startSessionWorld({ databaseFile });
    await world.article.stop();
    await (await signIn(world)).signOut();
    world.registry.clock.advance(961);
    const { crash, failpoint } = crashAt(name);
    const crashing = await world.startAgent(providers.article, { databaseFile, failpoint });
    await crashing.agent.start();
    passTime(world);
    await vi.waitFor(() => expect(crash.happened).toBe(true), 5000);
    await crashing.stop();
    const again = await world.startAgent(providers.article, { databaseFile });
    await again.agent.start();
    const bob = await signIn(world, "bob");
    await bob.signOut();
    await vi.waitFor(async () => expect(await accepts(again, bob.accessToken)).toBe("TOKEN_REVOKED"), 5000);
  });
});

describe("an Auth Provider that can't be reached", () => {
  test("is done without, unless the service says otherwise", async () => {
    const world = await startSessionWorld();
    const { accessToken } = await signIn(world);
    await world.auth.stop();
    world.registry.clock.advance(60);
    expect(await accepts(world.article, accessToken)).toBe("ok");
  });

  test("stops a strict service after its bound, until it is back", async () => {
    const databaseFile = `${temporaryFolder()}/auth.db`;
    const world = await startSessionWorld({ sessions: { maxAgeSeconds: 10 } }, { databaseFile });
    const { accessToken } = await signIn(world);
    await vi.waitFor(async () => expect(await accepts(world.article, accessToken)).toBe("ok"));
    await world.auth.stop();
    world.registry.clock.advance(11);
    expect(await accepts(world.article, accessToken)).toBe("VIEW_STALE");
    const back = await startProvider(world.registry, { databaseFile });
    world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: new URL(back.url).host });
    passTime(world);
    await vi.waitFor(async () => expect(await accepts(world.article, accessToken)).toBe("ok"), 5000);
  });
});

test("what is known of sessions is too old to go by when the clock was set back", async () => {
  const mesh = await startCallingMesh();
  const { clock } = mesh.registry;
  let aheadMs = 0;
  const { registries } = connectionsTo(mesh.registry);
  const article = await mesh.startAgent(providers.article, {
    sessions: { maxAgeSeconds: 10 },
    clock: { now: () => clock.now() + aheadMs, setTimer: clock.setTimer.bind(clock) },
    // Of another clock, and whatever the events' age: what remains are the sessions.
    views: { ...createViews({ registries, clock }), follow() {} },
  });
  await mesh.provision(article, "journal");
  await article.agent.start();
  const { accessToken } = await signIn({ auth: mesh.auth, appId: mesh.app.appId });
  await vi.waitFor(async () => expect(await accepts(article, accessToken)).toBe("ok"));
  await mesh.auth.stop();
  aheadMs = -20_000;
  expect(await accepts(article, accessToken)).toBe("VIEW_STALE");
});

describe("the table of ended sessions", () => {
  const source = { appId: "test.omi-registry.dev.shop.abcdef", origin: "auth.test" };
  const event = (sequence: number, sessionId: string, expiresAt = 1900) =>
    create(SessionRevokedSchema, {
      header: { issuedAt: 1000n, expiresAt: BigInt(expiresAt) },
      ...source,
      sessionId,
      sequence: BigInt(sequence),
    });
  const claims = (sid: string | undefined, iat = 900) => ({
    iss: "http://auth.test",
    sub: "user:alice",
    aud: `${source.appId}/journal`,
    app_id: source.appId,
    token_use: "user" as const,
    iat,
    exp: iat + 900,
    jti: "token-1",
    ...(sid !== undefined && { sid }),
  });
  const open = (max?: number) => {
    const db = openDatabase(":memory:", agentMigrations);
    return { db, table: new SessionRevocations(db, max) };
  };

  test("holds what was told, by app and session, and where it stands with each provider", () => {
    const { table } = open();
    table.apply(event(1, "session-1"), 1000);
    table.apply(event(3, "session-3"), 1000);
    expect(["session-1", "session-2", "session-3", undefined].map((sid) => table.isRevoked(claims(sid)))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(table.isRevoked({ ...claims("session-1"), app_id: "test.omi-registry.dev.other.abcdef" })).toBe(false);
    expect(table.cursor(source)).toBe(3n);
    expect(table.cursor({ ...source, origin: "other-auth.test" })).toBe(0n);
  });

  test("forgets what says nothing more, and never remembers for longer than a token lives", () => {
    const { db, table } = open();
    table.apply(event(1, "session-1"), 1000);
    table.apply(event(2, "session-2", 1_000_000_000), 1000);
    table.apply(event(3, "session-3", 10_000), 9000);
    const left = db.prepare("SELECT session_id FROM session_revocations").pluck().all();
    expect(left).toEqual(["session-3"]);
  });

  test("says so at once of a session that it was asked about before it ended", () => {
    const { table } = open(3);
    const asked = () => [1, 2].map((number) => table.isRevoked(claims(`session-${number}`)));
    expect(asked()).toEqual([false, false]);
    table.apply(event(1, "session-1"), 1000);
    expect(asked()).toEqual([true, false]);
    for (const number of [3, 4]) table.apply(event(number, `session-${number}`), 1000);
    expect(asked()).toEqual([true, true]);
  });

  test("refuses all tokens up to now rather than to forget one, when there are too many", () => {
    const { db, table } = open(3);
    for (const number of [1, 2, 3]) table.apply(event(number, `session-${number}`), 1000);
    expect(db.prepare("SELECT count(*) FROM session_revocations").pluck().get()).toBe(0);
    expect([1, 2, 3].map((number) => table.isRevoked(claims(`session-${number}`)))).toEqual([true, true, true]);
    expect(table.isRevoked(claims(undefined, 1000))).toBe(true);
    expect(table.isRevoked(claims("session-9", 1001))).toBe(false);
    table.apply(event(4, "session-9"), 1002);
    expect(table.isRevoked(claims("session-9", 1001))).toBe(true);
    expect(table.cursor(source)).toBe(4n);
  });
});
