import { describe, expect, test, vi } from "vitest";
import { Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import type { EventCarrier } from "../../src/events/carrier.ts";
import type { Publisher } from "../../src/events/publisher.ts";
import { accepts, type SessionWorld, signIn, startSessionWorld } from "../agent/session-world.ts";
import { announce, rotateOf, startProvider } from "../auth/support.ts";
import { LiveClock } from "../nats/support/live-clock.ts";
import { present } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { providers } from "../support/registry.ts";

/** How session events get from an Auth Provider to an agent. Both left out: by the stream of WatchSessions. */
export type SessionWay = {
  readonly sessionPublisher?: Publisher;
  readonly carrierFor?: (authProvider: string) => EventCarrier;
};

const soon = { timeout: 4000, interval: 20 };
/** Heads come every 5 s. */
const byTheHeads = { timeout: 15_000, interval: 50 };

/** What the ends of sessions do at the services of an app, whatever brings them. */
export function describeSessionEffects(name: string, startWay: () => Promise<SessionWay>): void {
  async function startWorld() {
    const { sessionPublisher, carrierFor } = await startWay();
    const folder = temporaryFolder();
    const authOptions = { databaseFile: `${folder}/auth.db`, ...(sessionPublisher && { sessionPublisher }) };
    const agentOptions = {
      databaseFile: `${folder}/agent.db`,
      ...(carrierFor && { sessions: { carrierFor } }),
    };
    const world = await startSessionWorld(agentOptions, authOptions, { clock: new LiveClock() });
    const restartAuth = async (): Promise<SessionWorld> => {
      await world.auth.stop();
      const auth = await startProvider(world.registry, authOptions);
      world.locate({ ...providers.auth, party: Party.AUTH_PROVIDER, at: new URL(auth.url).host });
      return { ...world, auth };
    };
    const startAgent = async () => {
      const article = await world.startAgent(providers.article, agentOptions);
      await article.agent.start();
      return article;
    };
    return { world, restartAuth, startAgent };
  }

  const revoked = (world: SessionWorld, token: string, how = soon, article = world.article) =>
    vi.waitFor(async () => expect(await accepts(article, token)).toBe("TOKEN_REVOKED"), how);

  describe(`ends of sessions that come by ${name}`, () => {
    test("of a sign-out end the user's tokens at the service, and nobody else's", async () => {
      const { world } = await startWorld();
      const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
      expect(await accepts(world.article, alice.accessToken)).toBe("ok");
      await alice.signOut();
      await revoked(world, alice.accessToken);
      expect(await accepts(world.article, bob.accessToken)).toBe("ok");
      expect(await accepts(world.article, (await signIn(world)).accessToken)).toBe("ok");
    });

    test("of a refresh token that is used again end all tokens of its session", async () => {
      const { world } = await startWorld();
      const { accessToken, refreshToken } = await signIn(world);
      const refresh = () => world.auth.users.refreshToken({ appId: world.appId, refreshToken, serviceId: "journal" });
      const { tokens } = await refresh();
      await refresh().catch(() => {});
      for (const token of [accessToken, present(tokens).accessToken]) await revoked(world, token);
    });

    test("many, one after the other, end every session", async () => {
      const { world } = await startWorld();
      const users: Awaited<ReturnType<typeof signIn>>[] = [];
      for (let number = 0; number < 30; number++) users.push(await signIn(world, `user-${number}`));
      const stays = await signIn(world, "stays");
      await Promise.all(users.map(({ signOut }) => signOut()));
      for (const { accessToken } of users) await revoked(world, accessToken, byTheHeads);
      expect(await accepts(world.article, stays.accessToken)).toBe("ok");
    });

    test("while the agent was away are in place when it is back", async () => {
      const { world, startAgent } = await startWorld();
      const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
      await alice.signOut();
      await revoked(world, alice.accessToken);
      await world.article.stop();
      await bob.signOut();
      const again = await startAgent();
      expect(await accepts(again, alice.accessToken)).toBe("TOKEN_REVOKED");
      await revoked(world, bob.accessToken, soon, again);
    });

    test("signed with a key that was rotated or announced a moment ago have their effect", async () => {
      const { world } = await startWorld();
      const { auth, app } = world;
      await auth.tenancy.rotateServiceKey({ statement: rotateOf(auth, app) });
      const first = await signIn(world);
      await first.signOut();
      await revoked(world, first.accessToken, byTheHeads);
      await announce(auth, app);
      const second = await signIn(world);
      await second.signOut();
      await revoked(world, second.accessToken, byTheHeads);
    });

    test("of before and after a restart of the Auth Provider have their effect", async () => {
      const { world, restartAuth } = await startWorld();
      const [alice, bob] = [await signIn(world), await signIn(world, "bob")];
      await alice.signOut();
      const restarted = await restartAuth();
      await revoked(world, alice.accessToken, byTheHeads);
      await restarted.auth.users.signOut({ appId: world.appId, refreshToken: bob.refreshToken });
      await revoked(world, bob.accessToken, byTheHeads);
    });
  });
}
