import { create } from "@bufbuild/protobuf";
import BetterSqlite3 from "better-sqlite3";
import { describe, expect, test, vi } from "vitest";
import { type SessionRevoked, SessionRevokedSchema } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { AgentOptions } from "../../src/agent/agent.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement } from "../../src/statement/statement.ts";
import { present } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { providers } from "../support/registry.ts";
import { SessionBus } from "./session-bus.ts";
import { accepts, passTime, type SessionWorld, signIn, startSessionWorld } from "./session-world.ts";

type World = SessionWorld & { readonly bus: SessionBus; readonly databaseFile: string };

/** An agent that a bus brings the session events to. No time passes unless the test lets it, so heads are asked for once. */
async function startWorld(options: Partial<AgentOptions> = {}): Promise<World> {
  const bus = new SessionBus();
  const databaseFile = `${temporaryFolder()}/agent.db`;
  const world = await startSessionWorld(
    { databaseFile, sessions: { carrierFor: bus.carrierFor, maxAgeSeconds: 10 }, ...options },
    { sessionPublisher: bus },
  );
  // Once users are let in, the first heads are there.
  const { accessToken } = await signIn(world, "first");
  await vi.waitFor(async () => expect(await accepts(world.article, accessToken)).toBe("ok"));
  return { ...world, bus, databaseFile };
}

/** Users who are signed in, and whose sign-outs are published and get lost. */
async function startWithLost(count: number, options: Partial<AgentOptions> = {}) {
  const world = await startWorld(options);
  const { bus } = world;
  const users: Awaited<ReturnType<typeof signIn>>[] = [];
  for (let number = 0; number < count; number++) users.push(await signIn(world, `user-${number}`));
  bus.delivers = false;
  for (const { signOut } of users) await signOut();
  await vi.waitFor(() => expect(bus.published).toHaveLength(count));
  bus.delivers = true;
  const outcomes = () => Promise.all(users.map(({ accessToken }) => accepts(world.article, accessToken)));
  return { ...world, outcomes };
}

const all = (outcome: string, count: number) => Array.from({ length: count }, () => outcome);

/** An event like `statement`, but for some fields, signed by `key`. */
function forged(statement: Statement, fields: Partial<SessionRevoked>, key: SigningKey): Statement {
  const { message } = openAnswer(SessionRevokedSchema, statement);
  return signStatement(SessionRevokedSchema, { ...message, ...fields }, key);
}

/** What the agent's file says: how far it came, and which sessions ended. */
function stored({ databaseFile }: World) {
  const db = new BetterSqlite3(databaseFile, { readonly: true });
  try {
    const cursors = db.prepare("SELECT sequence FROM session_cursors").pluck().all();
    const sessions = db.prepare("SELECT session_id FROM session_revocations").pluck().all();
    return { cursors, sessions: sessions.length };
  } finally {
    db.close();
  }
}

test("an end of a session comes by the carrier, without heads", async () => {
  const world = await startWorld();
  const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
  await alice.signOut();
  await vi.waitFor(async () => expect(await accepts(world.article, alice.accessToken)).toBe("TOKEN_REVOKED"));
  expect(await accepts(world.article, bob.accessToken)).toBe("ok");
});

test("also while the Auth Provider can't be asked", async () => {
  const world = await startWorld();
  const alice = await signIn(world);
  // Others than the user find nobody there.
  world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: "127.0.0.1:1" });
  await alice.signOut();
  await vi.waitFor(async () => expect(await accepts(world.article, alice.accessToken)).toBe("TOKEN_REVOKED"));
});

test("what the carrier loses, the heads tell, also of the last event", async () => {
  const world = await startWithLost(3);
  expect(await world.outcomes()).toEqual(all("ok", 3));
  passTime(world);
  await vi.waitFor(async () => expect(await world.outcomes()).toEqual(all("TOKEN_REVOKED", 3)), 5000);
});

test("a later event shows that some are missing; in whatever order they come, in the end all are in place", async () => {
  const world = await startWithLost(5);
  await world.bus.bring(...world.bus.published.toReversed());
  passTime(world);
  await vi.waitFor(async () => expect(await world.outcomes()).toEqual(all("TOKEN_REVOKED", 5)), 5000);
  expect(stored(world)).toEqual({ cursors: [5], sessions: 5 });
});

test("an event that comes again and again counts once", async () => {
  const world = await startWithLost(2);
  const [first, second] = world.bus.published.map((event) => [event, event, event]);
  await world.bus.bring(...present(first), ...present(second), ...present(first));
  expect(await world.outcomes()).toEqual(all("TOKEN_REVOKED", 2));
  expect(stored(world)).toEqual({ cursors: [2], sessions: 2 });
});

test("a carrier that was away is no reason to wait for the heads", async () => {
  const world = await startWithLost(2);
  world.bus.reconnect();
  // Heads are asked for at once, but not more often than once a second.
  world.registry.clock.advance(1.3);
  await vi.waitFor(async () => expect(await world.outcomes()).toEqual(all("TOKEN_REVOKED", 2)));
});

test("an event that can't be put on disk now is put there later", async () => {
  let fails = true;
  const failpoint = (at: string) => {
    if (!fails || at !== "session.revoke.before-commit") return;
    fails = false;
    throw new Error("the disk is full");
  };
  const world = await startWithLost(1, { failpoint });
  await world.bus.bring(...world.bus.published);
  expect(await world.outcomes()).toEqual(["ok"]);
  passTime(world);
  await vi.waitFor(async () => expect(await world.outcomes()).toEqual(["TOKEN_REVOKED"]), 5000);
});

describe("a forged event", () => {
  const cases: [string, (real: Statement, world: World) => Statement][] = [
    ["signed by a stranger", (real) => forged(real, {}, testKey("stranger"))],
    ["signed by the Provider key", (real) => forged(real, {}, providers.auth.key)],
    ["of another provider", (real) => forged(real, { origin: "crm.test" }, providers.crm.key)],
    ["far ahead", (real) => forged(real, { sequence: 1_000_000n }, testKey("stranger"))],
    [
      "whose signature is of another one",
      (real) => ({ ...forged(real, { sessionId: "other" }, testKey("stranger")), signature: real.signature }),
    ],
    ["of another type", (real) => ({ ...real, type: "omi.auth.v1.SessionHeads" })],
    ["that is nothing", () => create(StatementSchema)],
  ];

  test.each(cases)("%s changes nothing, and the real one counts", async (_, forge) => {
    const world = await startWithLost(1);
    const [real] = world.bus.published;
    await world.bus.bring(forge(present(real), world));
    expect(await world.outcomes()).toEqual(["ok"]);
    expect(stored(world).cursors).not.toContain(1);
    await world.bus.bring(present(real));
    expect(await world.outcomes()).toEqual(["TOKEN_REVOKED"]);
    expect(stored(world)).toEqual({ cursors: [1], sessions: 1 });
  });

  test("costs the Auth Provider next to nothing, however often it comes", async () => {
    const world = await startWithLost(1);
    const forgery = forged(present(world.bus.published[0]), { sequence: 9n }, testKey("stranger"));
    for (let number = 0; number < 500; number++) await world.bus.bring(forgery);
    // No time has passed, so it was not asked again: what was lost still is.
    expect(await world.outcomes()).toEqual(["ok"]);
  });
});
