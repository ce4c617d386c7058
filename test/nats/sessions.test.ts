import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { RetentionPolicy, StorageType, type StoredMsg } from "nats";
import { describe, expect, test } from "vitest";
import { type SessionRevoked, SessionRevokedSchema } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../src/core/bytes.ts";
import { openAnswer, signStatement } from "../../src/statement/statement.ts";
import { accepts, type SessionWorld, signIn, startSessionWorld } from "../agent/session-world.ts";
import { startProvider } from "../auth/support.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import { providers } from "../support/registry.ts";
import { openEar } from "./support/listening.ts";
import { LiveClock } from "./support/live-clock.ts";
import { startNats, type TestNats } from "./support/nats-server.ts";
import { bareConnection } from "./support/publishing.ts";
import { sessionCarriersFrom, sessionPublisherTo, sessionStream } from "./support/sessions.ts";
import { startStallingProxy } from "./support/stalling-proxy.ts";

const patient = { timeout: 60_000, interval: 20 };

/** An Auth Provider that publishes, and an agent that listens. */
async function startPublishing() {
  const nats = await startNats();
  const databaseFile = `${temporaryFolder()}/auth.db`;
  const authOptions = { databaseFile, sessionPublisher: sessionPublisherTo(nats) };
  const world = await startSessionWorld({ sessions: { carrierFor: sessionCarriersFrom(nats) } }, authOptions, {
    clock: new LiveClock(),
  });
  const restart = async (options: Parameters<typeof startProvider>[1] = {}): Promise<SessionWorld> => {
    const auth = await startProvider(world.registry, { ...authOptions, ...options });
    world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: new URL(auth.url).host });
    return { ...world, auth };
  };
  return { nats, world, authOptions, restart };
}

const eventOf = ({ data }: StoredMsg) => openAnswer(SessionRevokedSchema, fromBinary(StatementSchema, data));

/** The messages of the stream of session events, oldest first; none while there is no stream. */
async function published(nats: TestNats): Promise<StoredMsg[]> {
  const manager = await (await bareConnection(nats)).jetstreamManager();
  const info = await manager.streams.info(sessionStream).catch(() => undefined);
  const messages: StoredMsg[] = [];
  for (let seq = info?.state.first_seq ?? 1; seq <= (info?.state.last_seq ?? 0); seq++) {
    messages.push(await manager.streams.getMessage(sessionStream, { seq }));
  }
  return messages;
}

const sequences = async (nats: TestNats) =>
  (await published(nats)).map((message) => Number(eventOf(message).message.sequence));

/** Signs in and out again; returns the token of the session that ended. */
async function endSession(world: SessionWorld, userName?: string): Promise<string> {
  const { accessToken, signOut } = await signIn(world, userName);
  await signOut();
  return accessToken;
}

test("every end of a session is one message in the Auth Provider's own stream, under its subject and Statement ID", async () => {
  const { nats, world } = await startPublishing();
  for (const name of ["alice", "bob"]) await endSession(world, name);
  await expect.poll(() => sequences(nats), patient).toEqual([1, 2]);
  const { namespace, appId } = world.app;
  for (const message of await published(nats)) {
    const { id, message: event } = eventOf(message);
    expect(message.subject).toBe(
      `omi.v1.auth.auth_test.omi-registry_test.${namespace}.shop_${appId.slice(-6)}.session_revoked`,
    );
    expect(message.header.get("Nats-Msg-Id")).toBe(toHex(id));
    expect(event).toMatchObject({ origin: "auth.test", appId });
  }
  const manager = await (await bareConnection(nats)).jetstreamManager();
  expect((await manager.streams.info(sessionStream)).config).toMatchObject({
    subjects: ["omi.v1.auth.auth_test.>"],
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    max_age: 960e9,
  });
});

test("what was committed and not published when the Auth Provider died is published when it is back, once", async () => {
  const { nats, world, restart } = await startPublishing();
  await endSession(world, "first");
  await expect.poll(() => sequences(nats), patient).toEqual([1]);
  await world.auth.stop();
  // After the commit and before anybody hears of it.
  let dies = true;
  const dying = await restart({
    failpoint(name) {
      if (dies && name === "sign-out.after-commit") throw new Error("dies");
    },
  });
  await expect(endSession(dying, "second")).rejects.toThrow();
  dies = false;
  await dying.auth.stop();
  expect(await sequences(nats)).toEqual([1]);
  await restart();
  await expect.poll(() => sequences(nats), patient).toEqual([1, 2]);
});

test("NATS is away while sessions end: they are published when it is back, and end everywhere meanwhile", async () => {
  const { nats, world } = await startPublishing();
  await endSession(world, "first");
  await expect.poll(() => sequences(nats), patient).toEqual([1]);
  await nats.kill();
  const tokens = [await endSession(world, "second"), await endSession(world, "third")];
  for (const token of tokens) await expect.poll(() => accepts(world.article, token), patient).toBe("TOKEN_REVOKED");
  await nats.start();
  await expect.poll(() => sequences(nats), patient).toEqual([1, 2, 3]);
});

test("NATS loses its data: what still counts is published again, what says nothing any more is not", async () => {
  const { nats, world } = await startPublishing();
  await endSession(world, "first");
  await expect.poll(() => sequences(nats), patient).toEqual([1]);
  world.registry.clock.advance(600);
  await endSession(world, "second");
  await expect.poll(() => sequences(nats), patient).toEqual([1, 2]);
  world.registry.clock.advance(600);
  await nats.kill();
  nats.wipe();
  await nats.start();
  await expect.poll(() => sequences(nats), patient).toEqual([2]);
});

test("an end comes by NATS alone while services can't reach the Auth Provider", async () => {
  const { world } = await startPublishing();
  const alice = await signIn(world);
  world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: "127.0.0.1:1" });
  await alice.signOut();
  await expect.poll(() => accepts(world.article, alice.accessToken), patient).toBe("TOKEN_REVOKED");
});

test("what others publish under the subject, forged, doubled or no event at all, changes no outcome", async () => {
  const { nats, world } = await startPublishing();
  const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
  const first = await endSession(world, "first");
  await expect.poll(() => sequences(nats), patient).toEqual([1]);
  const [real] = await published(nats);
  if (real === undefined) throw new Error("nothing was published");
  const connection = await bareConnection(nats);
  const forged = (fields: Partial<SessionRevoked>) => {
    const message = { ...eventOf(real).message, ...fields };
    return toBinary(StatementSchema, signStatement(SessionRevokedSchema, message, testKey("stranger")));
  };
  for (const data of [
    forged({ sequence: 2n, sessionId: "bob's, says a stranger" }),
    forged({ sequence: 100n }),
    new TextEncoder().encode("no event"),
    new Uint8Array(),
    real.data,
    real.data,
  ]) {
    connection.publish(real.subject, data);
  }
  await connection.flush();
  await alice.signOut();
  await expect.poll(() => accepts(world.article, alice.accessToken), patient).toBe("TOKEN_REVOKED");
  expect(await accepts(world.article, first)).toBe("TOKEN_REVOKED");
  expect(await accepts(world.article, bob.accessToken)).toBe("ok");
});

describe.each(["cut", "stall"] as const)(
  "the network breaks (%s) when a carrier has subscribed and waits for an answer",
  (breaks) => {
    async function openBroken() {
      const nats = await startNats();
      const proxy = await startStallingProxy(nats.port);
      const subscribed = proxy.untilSaid("SUB omi.v1.auth.");
      const ear = openEar(sessionCarriersFrom(proxy)("auth.test"), ["test.omi-registry.alice.shop.0a1b2c"]);
      await subscribed;
      proxy[breaks]();
      return ear;
    }

    test("it comes back", async () => {
      const ear = await openBroken();
      await expect.poll(ear.connected, patient).toBe(1);
    });

    test("it can be closed", async () => {
      const ear = await openBroken();
      await ear.connection.close();
      expect(ear.connected()).toBe(0);
    });
  },
);
