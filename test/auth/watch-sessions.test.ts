import { createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { SessionHeadsSchema, SessionRevokedSchema, SessionService } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { Access } from "../../gen/omi/options/v1/options_pb.ts";
import { KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { ServiceAnswerSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { Reason, reasonName } from "../../src/core/refusal.ts";
import { refusals } from "../../src/rpc/client/client.ts";
import { openAnswer, verifySignature } from "../../src/statement/statement.ts";
import { documentedReasons, reasonsOfAccess } from "../architecture/proto-text.ts";
import { refused } from "../contract/support/refused.ts";
import {
  bindTestService,
  present,
  registerTestApp,
  rotateTestService,
  suspendOf,
  type TestService,
  unbindOf,
} from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { tokenRequestOf, tokensOf } from "./service-tokens.ts";
import {
  announce,
  outcomeOf,
  type RunningProvider,
  rotateOf,
  SERVICE_ID,
  startAnnouncedMesh,
  startProvider,
  terminateOf,
} from "./support.ts";

type World = Awaited<ReturnType<typeof startAnnouncedMesh>>;
type Watched = { kind: "event" | "heads"; sequence: number; sessionId?: string };

/** gRPC takes the fast path, Connect that of all other RPCs. */
const transports = { gRPC: createGrpcTransport, Connect: createConnectTransport };
const protocols = ["gRPC", "Connect"] as const;

const alice = { userName: "alice", password: "correct horse battery" };

/** A service's token for the app's Auth Provider. */
async function tokenOf(provider: RunningProvider, service: TestService, targetServiceId = "auth"): Promise<string> {
  const statement = tokenRequestOf(provider, service, { targetServiceId });
  return (await tokensOf(provider).issueServiceToken({ statement })).accessToken;
}

function watch(
  { url }: RunningProvider,
  appId: string,
  {
    token,
    after = 0,
    signal,
    protocol = "gRPC",
  }: { token: string; after?: number; signal?: AbortSignal; protocol?: keyof typeof transports },
) {
  const transport = refusals(transports[protocol]({ baseUrl: url, httpVersion: "2" }), Reason.INTERNAL);
  const options = {
    ...(token !== "" && { headers: { authorization: `Bearer ${token}` } }),
    ...(signal !== undefined && { signal }),
  };
  return createClient(SessionService, transport).watchSessions({ appId, afterSequence: BigInt(after) }, options);
}

/** What a service sees until it has `count` messages; each verified with the key that the registry has for `auth`. */
async function seen(
  { registry, provider, app, service }: World,
  count: number,
  after = 0,
  protocol: keyof typeof transports = "gRPC",
): Promise<Watched[]> {
  const { answer } = await registry.resolver.resolveService({ appId: app.appId, serviceId: "auth" });
  const keys = openAnswer(ServiceAnswerSchema, present(answer)).message.service?.keys ?? [];
  const active = present(keys.find(({ status }) => status === KeyStatus.ACTIVE));
  const leave = new AbortController();
  const messages: Watched[] = [];
  const token = await tokenOf(provider, service);
  try {
    for await (const { event, heads } of watch(provider, app.appId, { token, after, signal: leave.signal, protocol })) {
      const opened = event
        ? openAnswer(SessionRevokedSchema, event)
        : openAnswer(SessionHeadsSchema, present<Statement>(heads));
      await verifySignature(opened, active.publicKey);
      expect(opened.message).toMatchObject({ appId: app.appId, origin: "auth.test" });
      const { sequence } = opened.message;
      const sessionId = event && openAnswer(SessionRevokedSchema, event).message.sessionId;
      messages.push({ kind: event ? "event" : "heads", sequence: Number(sequence), ...(sessionId && { sessionId }) });
      if (messages.length === count) return messages;
    }
  } finally {
    leave.abort();
  }
  throw new Error("the stream ended");
}

/** Signs in and out again; returns the session's ID. */
async function endedSession({ provider: { users }, app: { appId } }: Pick<World, "provider" | "app">): Promise<string> {
  await users.signUp({ appId, ...alice }).catch(() => {});
  const { tokens } = await users.signIn({ appId, ...alice, serviceId: SERVICE_ID });
  await users.signOut({ appId, refreshToken: present(tokens).refreshToken });
  return sessionOf(present(tokens).accessToken);
}

function sessionOf(accessToken: string): string {
  return JSON.parse(Buffer.from(present(accessToken.split(".")[1]), "base64url").toString()).sid;
}

test.each(protocols)(
  "%s: sign-out is told, to listeners that are there and to those that come later",
  async (protocol) => {
    const world = await startAnnouncedMesh();
    const live = seen(world, 2, 0, protocol);
    const first = await endedSession(world);
    expect((await live).at(-1)).toEqual({ kind: "event", sequence: 1, sessionId: first });
    const second = await endedSession(world);
    expect(await seen(world, 3, 0, protocol)).toEqual([
      { kind: "heads", sequence: 2 },
      { kind: "event", sequence: 1, sessionId: first },
      { kind: "event", sequence: 2, sessionId: second },
    ]);
    expect(await seen(world, 2, 1)).toEqual([
      { kind: "heads", sequence: 2 },
      { kind: "event", sequence: 2, sessionId: second },
    ]);
  },
);

test("a refresh token that is used again ends its session, and that is told; nothing else is", async () => {
  const world = await startAnnouncedMesh();
  const { provider, app } = world;
  const { appId } = app;
  await provider.users.signUp({ appId, ...alice });
  const { tokens } = await provider.users.signIn({ appId, ...alice, serviceId: SERVICE_ID });
  const { refreshToken, accessToken } = present(tokens);
  await provider.users.refreshToken({ appId, refreshToken, serviceId: SERVICE_ID });
  expect(await seen(world, 1)).toEqual([{ kind: "heads", sequence: 0 }]);
  const reuse = () => provider.users.refreshToken({ appId, refreshToken, serviceId: SERVICE_ID });
  expect(await outcomeOf(reuse())).toBe("REFRESH_TOKEN_INVALID");
  expect(await seen(world, 2)).toEqual([
    { kind: "heads", sequence: 1 },
    { kind: "event", sequence: 1, sessionId: sessionOf(accessToken) },
  ]);
  // The session is gone, so there is nothing to end any more.
  expect(await outcomeOf(reuse())).toBe("REFRESH_TOKEN_INVALID");
  await provider.users.signOut({ appId, refreshToken });
  expect(await seen(world, 1)).toEqual([{ kind: "heads", sequence: 1 }]);
});

test("each app has a count of its own", async () => {
  const world = await startAnnouncedMesh();
  await endedSession(world);
  const app = await registerTestApp(world.registry);
  await announce(world.provider, app);
  const service = await bindTestService(world.registry, app, SERVICE_ID);
  const other = { ...world, app, service };
  const sessionId = await endedSession(other);
  expect(await seen(other, 2)).toEqual([
    { kind: "heads", sequence: 1 },
    { kind: "event", sequence: 1, sessionId },
  ]);
});

test("events are left out once all tokens of their sessions have expired; the count goes on, also over a restart", async () => {
  const databaseFile = `${temporaryFolder()}/auth.db`;
  const world = await startAnnouncedMesh({ databaseFile });
  await endedSession(world);
  world.registry.clock.advance(961);
  expect(await seen(world, 1)).toEqual([{ kind: "heads", sequence: 1 }]);
  await world.provider.stop();
  const again = { ...world, provider: await startProvider(world.registry, { databaseFile }) };
  const sessionId = await endedSession(again);
  expect(await seen(again, 2)).toEqual([
    { kind: "heads", sequence: 2 },
    { kind: "event", sequence: 2, sessionId },
  ]);
});

test("heads come every 5 seconds, each signed with the key that counts then", async () => {
  const world = await startAnnouncedMesh();
  const { registry, provider, app } = world;
  await endedSession(world);
  const seconds = setInterval(() => registry.clock.advance(1), 10);
  try {
    expect((await seen(world, 4)).map(({ kind }) => kind)).toEqual(["heads", "event", "heads", "heads"]);
    await provider.tenancy.rotateServiceKey({ statement: rotateOf(provider, app) });
    expect((await seen(world, 3)).map(({ kind }) => kind)).toEqual(["heads", "event", "heads"]);
    // Keys that were announced without the provider's hearing of it.
    await announce(provider, app);
    expect((await seen(world, 3)).map(({ kind }) => kind)).toEqual(["heads", "event", "heads"]);
  } finally {
    clearInterval(seconds);
  }
});

test.each([
  ["before", 0],
  ["after", 1],
])("a crash %s the commit of a sign-out leaves session and event together", async (side, events) => {
  const databaseFile = `${temporaryFolder()}/auth.db`;
  const failpoint = (name: string) => {
    if (name === `sign-out.${side}-commit`) throw new Error("crash");
  };
  const world = await startAnnouncedMesh({ databaseFile, failpoint });
  expect(await outcomeOf(endedSession(world))).toBe("INTERNAL");
  await world.provider.stop();
  const again = { ...world, provider: await startProvider(world.registry, { databaseFile }) };
  expect(await seen(again, 1)).toEqual([{ kind: "heads", sequence: events }]);
});

test("the end of a user's oldest session, for which there was no room any more, is told", async () => {
  const throttle = { account: { burst: 500, intervalSeconds: 1 }, source: { burst: 500, intervalSeconds: 1 } };
  const world = await startAnnouncedMesh({ throttle });
  const { provider, app } = world;
  await provider.users.signUp({ appId: app.appId, ...alice });
  const signIn = async () => {
    const { tokens } = await provider.users.signIn({ appId: app.appId, ...alice, serviceId: SERVICE_ID });
    return sessionOf(present(tokens).accessToken);
  };
  const oldest = await signIn();
  provider.clock.advance(1);
  const live = seen(world, 2);
  for (let i = 0; i < 100; i++) await signIn();
  expect((await live).at(-1)).toEqual({ kind: "event", sequence: 1, sessionId: oldest });
});

test("refresh tokens that strangers make up end nothing, and are not written down", async () => {
  const commits: string[] = [];
  const world = await startAnnouncedMesh({ failpoint: (name) => void commits.push(name) });
  const { users, clock } = world.provider;
  const { appId } = world.app;
  await users.signUp({ appId, ...alice });
  const { tokens } = await users.signIn({ appId, ...alice, serviceId: SERVICE_ID });
  clock.advance(1);
  commits.length = 0;
  for (const refreshToken of ["", "x", "A".repeat(64), present(tokens).refreshToken.replace(/^.{8}/, "AAAAAAAA")]) {
    expect(await outcomeOf(users.refreshToken({ appId, serviceId: SERVICE_ID, refreshToken }))).not.toBe("OK");
    await users.signOut({ appId, refreshToken }).catch(() => {});
  }
  expect(commits).toEqual([]);
  const { refreshToken } = present(tokens);
  expect(
    present((await users.refreshToken({ appId, serviceId: SERVICE_ID, refreshToken })).tokens).accessToken,
  ).not.toBe("");
});

describe.each(protocols)("WatchSessions over %s refuses", (protocol) => {
  type Case = {
    name: string;
    reason: Reason;
    after?: number;
    arrange?: (world: World) => Promise<unknown>;
    token?: (world: World) => string | Promise<string>;
    appId?: string;
  };

  const cases: Case[] = [
    { name: "no token", reason: Reason.TOKEN_MISSING, token: () => "" },
    {
      name: "a token for another service",
      reason: Reason.TOKEN_INVALID,
      token: ({ provider, service }) => tokenOf(provider, service, SERVICE_ID),
    },
    {
      name: "a user's token",
      reason: Reason.TOKEN_INVALID,
      async token({ provider: { users }, app: { appId } }) {
        await users.signUp({ appId, ...alice });
        const { tokens } = await users.signIn({ appId, ...alice, serviceId: "auth" });
        return present(tokens).accessToken;
      },
    },
    {
      name: "a service of another app",
      reason: Reason.TOKEN_INVALID,
      async token({ registry, provider }) {
        const app = await registerTestApp(registry);
        await announce(provider, app);
        return tokenOf(provider, await bindTestService(registry, app));
      },
    },
    {
      name: "a token that has expired",
      reason: Reason.TOKEN_EXPIRED,
      async arrange({ registry }) {
        registry.clock.advance(901);
      },
    },
    {
      name: "a suspended service",
      reason: Reason.TOKEN_REVOKED,
      arrange: ({ registry, service }) =>
        registry.registry.suspendService({ statement: suspendOf(registry.clock, service) }),
    },
    {
      name: "an unbound service",
      reason: Reason.TOKEN_REVOKED,
      arrange: ({ registry, service }) =>
        registry.registry.unbindService({ statement: unbindOf(registry.clock, service) }),
    },
    {
      name: "a key that was rotated without grace",
      reason: Reason.TOKEN_REVOKED,
      arrange: ({ registry, service }) => rotateTestService(registry, service, { immediate: true }),
    },
    {
      name: "an app that has no tenant",
      reason: Reason.TENANT_UNKNOWN,
      appId: "test.omi-registry.nobody.shop.abcdef",
    },
    {
      name: "an app whose tenant was terminated",
      reason: Reason.TENANT_TERMINATED,
      arrange: ({ provider, app }) => provider.tenancy.terminateService({ statement: terminateOf(provider, app) }),
    },
    { name: "a cursor ahead of the head", reason: Reason.CURSOR_INVALID, after: 1 },
    { name: "an AppID that is none", reason: Reason.FIELD_INVALID, appId: "shop" },
    {
      name: "an app that can't be asked about any more",
      reason: Reason.VIEW_STALE,
      async arrange({ registry }) {
        await registry.stop();
        registry.clock.advance(11);
      },
    },
  ];

  test.each(cases)("$name", async ({ reason, after = 0, arrange, token, appId }) => {
    const world = await startAnnouncedMesh();
    const shown = await (token ?? (({ provider, service }: World) => tokenOf(provider, service)))(world);
    await arrange?.(world);
    // What the provider has read lately is not gone by once it hears of a change.
    if (reason === Reason.TOKEN_REVOKED) world.registry.clock.advance(11);
    const stream = watch(world.provider, appId ?? world.app.appId, { token: shown, after, protocol });
    await refused(stream[Symbol.asyncIterator]().next(), reason);
  });

  test("every documented Reason has a case", () => {
    // Those of the server and of the write queue; those of a tenant's own service, which is not what is called here.
    const elsewhere = [
      Reason.RATE_LIMITED,
      Reason.OVERLOADED,
      Reason.SHUTTING_DOWN,
      Reason.DEADLINE_EXCEEDED,
      Reason.INTERNAL,
      Reason.MALFORMED,
      Reason.TOO_LARGE,
      Reason.SERVICE_SUSPENDED,
      Reason.SERVICE_REVOKED,
    ];
    const names = (reasons: Iterable<Reason>) => [...new Set([...reasons].map(reasonName))].sort();
    expect(names([...elsewhere, ...cases.map(({ reason }) => reason)])).toEqual(
      names([...documentedReasons(SessionService.method.watchSessions), ...reasonsOfAccess(Access.USER_TOKEN)]),
    );
  });

  test.each([
    ["suspended", Reason.TOKEN_REVOKED],
    ["terminated", Reason.TENANT_TERMINATED],
    ["expired", Reason.TOKEN_EXPIRED],
  ])("a listener to go on that is %s meanwhile", async (what, reason) => {
    const world = await startAnnouncedMesh();
    const { registry, provider, app, service } = world;
    const token = await tokenOf(provider, service);
    const stream = watch(provider, app.appId, { token })[Symbol.asyncIterator]();
    await stream.next();
    if (what === "suspended") {
      await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
    } else if (what === "terminated") {
      await provider.tenancy.terminateService({ statement: terminateOf(provider, app) });
    }
    const next = (async () => {
      for (;;) if ((await stream.next()).done) throw new Error("ended");
    })();
    const failed = refused(next, reason);
    registry.clock.advance(what === "expired" ? 901 : 11);
    await failed;
  });
});
