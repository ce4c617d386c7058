import { createClient } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { EventType } from "../../gen/omi/event/v1/event_pb.ts";
import { SubscriberService, SubscriptionState } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { EventCarrier } from "../../src/events/carrier.ts";
import { provision, serviceOrder, startAgent, type TestAgentOptions } from "../agent/support.ts";
import { announce, startProvider } from "../auth/support.ts";
import { backboneOf, registerTestApp, suspendOf, type TestService, unbindOf } from "../support/developer.ts";
import { temporaryFolder } from "../support/files.ts";
import { testKey } from "../support/keys.ts";
import type { RunningRegistry } from "../support/registry.ts";
import { outcomeOf } from "../tenancy/support.ts";

/** A registry on the machine's clock, and carriers of its events. */
export type CarriedRegistry = {
  readonly registry: RunningRegistry;
  /** A carrier for one part: `agent` or `auth`. */
  readonly carrierFor: (part: string) => EventCarrier;
};

// Views that nothing drops would be believed for 10 s, and heads come every 5 s: what shows in less came as an event.
const soon = { timeout: 4000, interval: 20 };

const SERVICE_ID = "cms-article-77";
const credentials = { userName: "bob", password: "a password for tests" };

/** What events do in the parts that listen, whatever brings them. */
export function describeEffects(name: string, startCarrier: () => Promise<CarriedRegistry>): void {
  /** A registry, an Auth Provider and an agent, and an app with a service that a user has a token for. */
  async function startMesh() {
    const { registry, carrierFor } = await startCarrier();
    const folder = temporaryFolder();
    const auth = await startProvider(registry, { carrier: carrierFor("auth"), databaseFile: `${folder}/auth.db` });
    const startOwnAgent = async (options: TestAgentOptions = {}) => {
      const databaseFile = `${folder}/agent.db`;
      const running = await startAgent(registry, { carrier: carrierFor("agent"), databaseFile, ...options });
      await running.agent.start();
      return running;
    };
    const running = await startOwnAgent();
    const app = await registerTestApp(registry);
    await announce(auth, app);
    await provision(running, serviceOrder(registry, app, { serviceId: SERVICE_ID }));
    const { appId } = app;
    await auth.users.signUp({ appId, ...credentials });
    const signIn = async () => {
      const { tokens } = await auth.users.signIn({ appId, serviceId: SERVICE_ID, ...credentials });
      return tokens?.accessToken ?? "";
    };
    const service: TestService = { app, serviceId: SERVICE_ID, key: testKey("nobody") };
    const subscription = (of: typeof running) =>
      createClient(SubscriberService, of.transport).getSubscription({ appId });
    return { registry, auth, running, startOwnAgent, app, service, signIn, subscription };
  }

  describe(`events that come by ${name}`, () => {
    test("of an unbinding end a service at once, at the agent and at the Auth Provider, and for good", async () => {
      const { registry, running, startOwnAgent, service, signIn } = await startMesh();
      const token = await signIn();
      await running.agent.authenticate(token);
      await registry.registry.unbindService({ statement: unbindOf(registry.clock, service) });
      await vi.waitFor(async () => {
        expect(await outcomeOf(running.agent.authenticate(token))).toBe("SERVICE_REVOKED");
        expect(await outcomeOf(signIn())).toBe("SERVICE_REVOKED");
      }, soon);

      // It is on disk, so that it holds without a word of the registry.
      await running.stop();
      await registry.stop();
      const later = await startOwnAgent();
      expect(await outcomeOf(later.agent.authenticate(token))).toBe("SERVICE_REVOKED");
    });

    test("of a suspension stop a service at once; restored, it serves at once", async () => {
      const { registry, running, app, service, signIn } = await startMesh();
      const token = await signIn();
      for (let round = 0; round < 3; round++) {
        await running.agent.authenticate(token);
        await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
        await vi.waitFor(async () => {
          expect(await outcomeOf(running.agent.authenticate(token))).toBe("SERVICE_SUSPENDED");
        }, soon);
        // A proof counts only if it is newer than the suspension, by whole seconds.
        registry.clock.advance(1);
        await provision(running, serviceOrder(registry, app, { serviceId: SERVICE_ID }));
        await running.agent.authenticate(token);
      }
    });

    test("of a rotation that the agent made itself change nothing for its callers", async () => {
      const { running, app, signIn } = await startMesh();
      const token = await signIn();
      const tenant = { appId: app.appId, serviceId: SERVICE_ID };
      for (let round = 0; round < 3; round++) {
        await running.agent.rotate(tenant, { immediate: true });
        await running.agent.authenticate(token);
      }
    });

    test("of a new User Validator let its tokens in, and those of the one before as long as it is in grace", async () => {
      const { auth, running, app, signIn } = await startMesh();
      const before = await signIn();
      await running.agent.authenticate(before);
      await announce(auth, app);
      const after = await signIn();
      await running.agent.authenticate(after);
      await vi.waitFor(() => expect(running.contexts.at(-1)?.authKeys).toHaveLength(2), soon);
      await running.agent.authenticate(before);
    });

    test("of a new backbone bring the service its new context, without a call", async () => {
      const { registry, running, app } = await startMesh();
      const statement = backboneOf(registry.clock, app, { expectedConfigEpoch: 1n });
      await registry.registry.updateBackbone({ statement });
      await vi.waitFor(() => {
        expect(running.contexts.at(-1)?.operationalServices).toMatchObject([{ name: "bill-1" }]);
      }, soon);
      expect(running.told.filter((line) => line === `context ${SERVICE_ID} 2`)).toHaveLength(1);
    });

    test("while the agent was away have their effect when it is back", async () => {
      const { registry, running, startOwnAgent, app } = await startMesh();
      await running.stop();
      const statement = backboneOf(registry.clock, app, { expectedConfigEpoch: 1n });
      await registry.registry.updateBackbone({ statement });
      const later = await startOwnAgent();
      await vi.waitFor(() => expect(later.told).toEqual([`context ${SERVICE_ID} 2`]), soon);
    });

    test("can be seen at the part that applied them", async () => {
      const { registry, running, service, subscription } = await startMesh();
      const suspended = await registry.registry.suspendService({ statement: suspendOf(registry.clock, service) });
      expect(suspended.answer).toBeDefined();
      // Registered, announced, bound, suspended.
      await vi.waitFor(async () => {
        expect(await subscription(running)).toMatchObject({
          appliedSequence: 4n,
          lastEvent: EventType.KEY_ROTATION,
          state: SubscriptionState.CURRENT,
          counts: { applied: 4n, forged: 0n, unknown: 0n },
        });
      }, soon);
      const unknown = createClient(SubscriberService, running.transport).getSubscription({
        appId: `${service.app.appId.slice(0, -6)}000000`,
      });
      expect(await outcomeOf(unknown)).toBe("APP_UNKNOWN");
    });
  });
}
