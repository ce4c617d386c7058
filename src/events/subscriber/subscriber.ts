import { create } from "@bufbuild/protobuf";
import { type Event, EventSchema, HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import {
  type GetSubscriptionResponse,
  GetSubscriptionResponseSchema,
  SubscriptionState,
} from "../../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import type { Clock } from "../../core/clock.ts";
import { type Failpoint, noFailpoints } from "../../core/failpoint.ts";
import type { Logger } from "../../core/log.ts";
import { type Random, systemRandom } from "../../core/random.ts";
import { isRefusal, Reason, Refusal } from "../../core/refusal.ts";
import type { Registries } from "../../directory/registries.ts";
import type { FollowedApps } from "../../directory/views.ts";
import { peekAnswer } from "../../statement/statement.ts";
import type { Database } from "../../store/database.ts";
import type { WriteQueue } from "../../store/write-queue.ts";
import type { CarriedMessage, CarrierConnection, EventCarrier } from "../carrier.ts";
import { AppFeed } from "./app-feed.ts";
import type { Counts, SubscriberCore } from "./core.ts";
import { Cursors } from "./cursors.ts";
import { RegistryFeed } from "./registry-feed.ts";
import { Slots } from "./slots.ts";

export { subscriberMigration } from "./cursors.ts";

/** What {@link createSubscriber} needs. */
export interface SubscriberOptions {
  /** The part's database, with the tables of `subscriberMigration`. */
  readonly db: Database;
  /** The part's write queue; give it the same failpoint. */
  readonly writes: WriteQueue;
  readonly registries: Registries;
  readonly carrier: EventCarrier;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Spreads the times at which heads are asked for. */
  readonly random?: Random;
  /** See `subscriberFailpoints`. */
  readonly failpoint?: Failpoint;
  /** How old the latest signed head may be, in seconds; 10 if left out. */
  readonly maxAgeSeconds?: number;
  /**
   * The durable effect of an event, called once for each, in order, inside the transaction that moves the cursor. What it
   * throws leaves the event unapplied and the app behind, to be tried again. Not called for kinds of events that are not in
   * this version of the contract.
   */
  apply(event: Event): void;
  /**
   * Called after that commit, for every event, also of an unknown kind: drop caches, wake who waits. A crash may come before
   * it, so nothing that must last belongs here.
   */
  applied?(event: Event): void;
  /** A signed head says where the app stood at `atSeconds` (Unix seconds), and all events up to there have been applied. */
  confirmed?(appId: string, sequence: bigint, atSeconds: number): void;
}

/** Listens to the events of apps, and applies each exactly once. */
export interface Subscriber extends FollowedApps {
  /** Listens to an app as well, from where it once left off. Which apps there are, a part tells again at each start. */
  add(appId: string): void;
  /** Listens to the app no longer. How far it came is remembered. */
  remove(appId: string): void;
  /**
   * Checks that what the part knows of an app may be gone by.
   *
   * @throws Refusal VIEW_STALE {age_seconds} if no signed head has confirmed it for too long, or the app is not listened to;
   *   REGISTRY_ROLLED_BACK {registry}
   */
  assertCurrent(appId: string): void;
  /** How far it has come with an app; undefined if it does not listen to it. */
  status(appId: string): GetSubscriptionResponse | undefined;
  /** Begins to listen. Resolves at once; what was missed is caught up with in the background. */
  start(): Promise<void>;
  /**
   * Stops listening. When it resolves, nothing more is given to the write queue, and the database is not read any more. Close
   * the queue behind it: what was given before is applied then at the latest.
   */
  stop(): Promise<void>;
}

const DEFAULT_MAX_AGE_SECONDS = 10;

// How many apps ask for missed events at the same time, so that a long absence doesn't end in a flood of calls.
const MAX_CATCH_UPS = 8;

/**
 * Makes the one subscriber of a part.
 *
 * The carrier only makes it fast. Every event is verified and applied as the successor of the last one; what is missing is
 * found by signed heads, which are asked for whenever the carrier brings none, and read from the registry. So a carrier
 * that loses, doubles, delays, reorders or forges can delay an effect, and never change one.
 */
export function createSubscriber(options: SubscriberOptions): Subscriber {
  return new EventSubscriber(options);
}

class EventSubscriber implements Subscriber {
  readonly #options: SubscriberOptions;
  readonly #core: SubscriberCore;
  readonly #random: Random;
  readonly #failpoint: Failpoint;
  readonly #counts: Counts = { applied: 0n, forged: 0n, doubled: 0n, early: 0n, unknown: 0n, caughtUp: 0n };
  readonly #apps = new Map<string, AppFeed>();
  readonly #registries = new Map<string, RegistryFeed>();
  #connection: CarrierConnection | undefined;
  #isStopped = false;

  constructor(options: SubscriberOptions) {
    const { db, writes, clock, logger, random = systemRandom, failpoint = noFailpoints } = options;
    this.#options = options;
    this.#random = random;
    this.#failpoint = failpoint;
    this.#core = {
      cursors: new Cursors(db),
      writes,
      clock,
      logger,
      counts: this.#counts,
      maxAgeMs: (options.maxAgeSeconds ?? DEFAULT_MAX_AGE_SECONDS) * 1000,
      catchUps: new Slots(MAX_CATCH_UPS),
      apply: (event) => options.apply(event),
      applied: (event) => options.applied?.(event),
      confirmed: (appId, sequence, atSeconds) => options.confirmed?.(appId, sequence, atSeconds),
      stopped: () => this.#isStopped,
    };
  }

  add(appId: string): void {
    if (this.#apps.has(appId) || this.#isStopped) return;
    const client = this.#options.registries.forApp(appId);
    let registry = this.#registries.get(client.domain);
    if (registry === undefined) {
      registry = new RegistryFeed(client, this.#core, this.#random);
      this.#registries.set(client.domain, registry);
    }
    const app = new AppFeed(appId, registry, this.#core);
    this.#apps.set(appId, app);
    registry.apps.set(appId, app);
    if (this.#connection !== undefined) this.#listen(app);
  }

  remove(appId: string): void {
    const app = this.#apps.get(appId);
    if (app === undefined) return;
    const { registry } = app;
    this.#apps.delete(appId);
    registry.apps.delete(appId);
    this.#connection?.remove(appId);
    if (registry.apps.size > 0) return;
    registry.close();
    this.#registries.delete(registry.client.domain);
  }

  follows(appId: string): boolean {
    return this.#connection !== undefined && this.#apps.has(appId);
  }

  appliedSequence(appId: string): bigint {
    return this.#apps.get(appId)?.cursor ?? 0n;
  }

  sequenceNow(appId: string): bigint | undefined {
    const app = this.#apps.get(appId);
    return app !== undefined && isCurrent(app) ? app.cursor : undefined;
  }

  async currentSequence(appId: string): Promise<bigint> {
    const app = this.#apps.get(appId);
    // The first round may have begun before the app was added, or before its events were caught up with.
    for (let round = 0; app !== undefined && round < 2 && !isCurrent(app); round++) {
      await app.registry.poll();
      await app.settled();
    }
    if (app !== undefined && isCurrent(app)) return app.cursor;
    if (app?.head === undefined && app?.registry.isRolledBack === false) throw unavailable(app);
    this.assertCurrent(appId);
    throw stale(app);
  }

  assertCurrent(appId: string): void {
    const app = this.#apps.get(appId);
    if (app?.registry.isRolledBack) {
      throw new Refusal(Reason.REGISTRY_ROLLED_BACK, "the app's registry is behind what it has said", {
        metadata: { registry: app.registry.client.domain },
      });
    }
    if (app === undefined || app.age >= this.#core.maxAgeMs) throw stale(app);
  }

  status(appId: string): GetSubscriptionResponse | undefined {
    const app = this.#apps.get(appId);
    if (app === undefined) return undefined;
    return create(GetSubscriptionResponseSchema, {
      appliedSequence: app.cursor,
      headSequence: app.head?.sequence ?? 0n,
      headTime: BigInt(app.head?.signedAt ?? 0),
      lastAppliedAt: BigInt(app.lastAppliedAt),
      lastEvent: app.lastEvent,
      carrier: this.#options.carrier.kind,
      state: this.#stateOf(app),
      counts: this.#counts,
    });
  }

  async start(): Promise<void> {
    if (this.#connection !== undefined || this.#isStopped) return;
    this.#connection = this.#options.carrier.open({
      receive: (message) => this.#receive(message),
      connected: () => {
        for (const registry of this.#registries.values()) registry.reconnected();
      },
    });
    for (const app of this.#apps.values()) this.#listen(app);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const registry of this.#registries.values()) registry.close();
    await this.#connection?.close();
  }

  #listen(app: AppFeed): void {
    this.#connection?.add(app.appId, app.cursor);
    app.registry.open();
    void app.registry.poll();
  }

  #stateOf(app: AppFeed): SubscriptionState {
    if (app.registry.isRolledBack) return SubscriptionState.ROLLED_BACK;
    return app.age < this.#core.maxAgeMs ? SubscriptionState.CURRENT : SubscriptionState.STALE;
  }

  async #receive(message: CarriedMessage): Promise<void> {
    if (this.#isStopped) return;
    if ("heads" in message) await this.#takeHeads(message.heads);
    else await this.#takeEvent(message.event);
  }

  async #takeEvent(statement: Statement): Promise<void> {
    await this.#failpoint("event.received");
    const app = await this.#verified(async () => {
      const found = this.#apps.get(peekAnswer(EventSchema, statement).appId);
      return found && { found, event: await found.registry.client.verifyEvent(statement) };
    });
    if (app === undefined) return;
    const { found, event } = app;
    // A registry may have been restored, and the event be one of another history. Heads tell later what was not taken.
    if (!found.registry.isSettled) await found.registry.poll();
    if (this.#isStopped) return;
    if (found.registry.isSettled) await found.take(event);
    else found.expect(event.value.sequence);
  }

  async #takeHeads(statement: Statement): Promise<void> {
    const verified = await this.#verified(async () => {
      const registry = this.#registries.get(peekAnswer(HeadsSchema, statement).origin);
      return registry && { registry, heads: await registry.client.verifyHeads(statement) };
    });
    if (verified !== undefined && !this.#isStopped) await verified.registry.takeCarried(verified.heads);
  }

  /** What was verified; undefined if it doesn't verify, or can't be now, or is about nothing that is listened to. */
  async #verified<T>(verify: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await verify();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      // Trouble on the way to the registry's keys says nothing about the message; heads will tell what it was.
      if (!isRefusal(error, Reason.REGISTRY_UNAVAILABLE)) this.#counts.forged++;
      this.#options.logger.warn({ err: error }, "a carried message does not verify");
      return undefined;
    }
  }
}

function isCurrent(app: AppFeed): boolean {
  return app.registry.isTrusted && app.isCurrent;
}

function unavailable({ registry }: AppFeed): Refusal {
  return new Refusal(Reason.REGISTRY_UNAVAILABLE, "no head of the app could be had yet", {
    metadata: { registry: registry.client.domain },
    nextStep: "try again",
  });
}

function stale(app: AppFeed | undefined): Refusal {
  return new Refusal(Reason.VIEW_STALE, "no signed head has confirmed what is known of the app for too long", {
    metadata: { age_seconds: String(app?.ageSeconds ?? 0) },
    nextStep: "try again",
  });
}
