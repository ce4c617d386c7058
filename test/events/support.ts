import net from "node:net";
import { expect, onTestFinished, vi } from "vitest";
import type { Event } from "../../gen/omi/event/v1/event_pb.ts";
import { EventSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { Carrier, type GetSubscriptionResponse } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { Failpoint } from "../../src/core/failpoint.ts";
import type { Registries } from "../../src/directory/registries.ts";
import type { CarriedMessage, CarrierConnection, CarrierListener, EventCarrier } from "../../src/events/carrier.ts";
import { createSubscriber, type Subscriber, subscriberMigration } from "../../src/events/subscriber/subscriber.ts";
import type { SigningKey } from "../../src/statement/crypto.ts";
import { openAnswer, signStatement } from "../../src/statement/statement.ts";
import { openDatabase } from "../../src/store/database.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { present } from "../support/developer.ts";
import { testBytes } from "../support/keys.ts";
import type { RunningRegistry } from "../support/registry.ts";
import { logger, wayTo } from "../tenancy/support.ts";

/** A carrier that brings exactly what the test says, when it says so. */
export class ScriptedCarrier implements EventCarrier {
  readonly kind = Carrier.UNSPECIFIED;
  /** The apps that it was told to listen to. */
  readonly apps = new Map<string, bigint>();
  #listener: CarrierListener | undefined;

  open(listener: CarrierListener): CarrierConnection {
    this.#listener = listener;
    return {
      add: (appId, afterSequence) => void this.apps.set(appId, afterSequence),
      remove: (appId) => void this.apps.delete(appId),
      close: async () => {
        this.#listener = undefined;
      },
    };
  }

  /** Brings events, one after the other. */
  async bring(...events: readonly Statement[]): Promise<void> {
    for (const event of events) await this.deliver({ event });
  }

  /** Brings one message. */
  async deliver(message: CarriedMessage): Promise<void> {
    await this.#listener?.receive(message);
  }

  /** Says that it is connected again. */
  reconnect(): void {
    this.#listener?.connected();
  }
}

/** An effect as the tests' part keeps it. */
export type KeptEffect = { readonly appId: string; readonly sequence: number; readonly event: number };

/** How the tests' part is started. */
export type TestSubscriberOptions = {
  readonly carrier?: EventCarrier;
  readonly databaseFile?: string;
  readonly failpoint?: Failpoint;
  readonly registries?: Registries;
  /** The registry's clock if left out. */
  readonly clock?: Clock;
  readonly onApply?: (event: Event) => void;
  readonly onConfirmed?: () => void;
};

/** A part that does nothing but keep what its subscriber applies. */
export type RunningSubscriber = {
  readonly subscriber: Subscriber;
  readonly carrier: ScriptedCarrier;
  /** What `applied` was called with. */
  readonly applied: Event[];
  /** What `confirmed` was called with: the last sequence of each app. */
  readonly confirmed: Map<string, bigint>;
  /** The durable effects, in the order in which they were made. */
  effects(): KeptEffect[];
  /** The sequences of an app's durable effects. */
  sequencesOf(appId: string): number[];
  status(appId: string): GetSubscriptionResponse;
  stop(): Promise<void>;
};

const effectsMigration =
  "CREATE TABLE effects (app_id TEXT NOT NULL, sequence INTEGER NOT NULL, event INTEGER NOT NULL)";

/** Starts a part that listens to some apps. */
export async function listen(
  registry: RunningRegistry,
  appIds: readonly string[],
  options: TestSubscriberOptions = {},
): Promise<RunningSubscriber> {
  const db = openDatabase(options.databaseFile ?? ":memory:", [subscriberMigration, effectsMigration]);
  const failpoint = options.failpoint ?? (() => {});
  const writes = new WriteQueue(db, { failpoint });
  const carrier = new ScriptedCarrier();
  const insert = db.prepare("INSERT INTO effects (app_id, sequence, event) VALUES (?, ?, ?)");
  const effects = db.prepare<[], KeptEffect>("SELECT app_id AS appId, sequence, event FROM effects ORDER BY rowid");
  const applied: Event[] = [];
  const confirmed = new Map<string, bigint>();
  const subscriber = createSubscriber({
    db,
    writes,
    registries: options.registries ?? wayTo(registry),
    carrier: options.carrier ?? carrier,
    clock: options.clock ?? registry.clock,
    random: testBytes,
    logger,
    failpoint,
    apply(event) {
      insert.run(event.appId, event.sequence, event.event);
      options.onApply?.(event);
    },
    applied: (event) => applied.push(event),
    confirmed(appId, sequence) {
      confirmed.set(appId, sequence);
      options.onConfirmed?.();
    },
  });
  for (const appId of appIds) subscriber.add(appId);
  await subscriber.start();
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= subscriber.stop().then(() => {
      writes.close();
      db.close();
    });
    return stopped;
  };
  onTestFinished(stop);
  return {
    subscriber,
    carrier,
    applied,
    confirmed,
    effects: () => effects.all(),
    sequencesOf: (appId) =>
      effects
        .all()
        .filter((effect) => effect.appId === appId)
        .map(({ sequence }) => sequence),
    status: (appId) => present(subscriber.status(appId)),
    stop,
  };
}

/** The app's events, as the registry signed them. */
export async function eventsOf({ events }: RunningRegistry, appId: string): Promise<Statement[]> {
  return (await events.listEvents({ appId, pageSize: 500 })).events;
}

/** Heads as a carrier brings them: in answer to no question. */
export async function carriedHeads({ events }: RunningRegistry, appId: string, sequence: bigint): Promise<Statement> {
  const left = new AbortController();
  try {
    for await (const { heads } of events.watch({ apps: [{ appId, sequence }] }, { signal: left.signal })) {
      if (heads !== undefined) return heads;
    }
  } finally {
    left.abort();
  }
  throw new Error("no heads came");
}

/** An event like `statement`, but for some fields, signed by `key`. */
export function eventLike(statement: Statement, fields: Partial<Event>, key: SigningKey): Statement {
  const { message } = openAnswer(EventSchema, statement);
  return signStatement(EventSchema, { ...message, ...fields }, key);
}

/** Lets time pass in steps, so that timers which are set anew each time fire as often as they should. */
export async function pass({ clock }: RunningRegistry, seconds: number): Promise<void> {
  for (let passed = 0; passed < seconds; passed += 0.5) {
    clock.advance(0.5);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** 1 to `last`. */
export function countTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}

/** Waits until the part has applied an app's events up to a sequence, and a signed head says that there are no more. */
export async function untilAt({ subscriber }: RunningSubscriber, appId: string, sequence: number): Promise<void> {
  await vi.waitFor(async () => expect(await subscriber.currentSequence(appId)).toBe(BigInt(sequence)));
}

/** A fixed address that leads to a server which may be replaced by another, as a registry that is restored. */
export async function startSwitch(): Promise<{ url: string; leadTo: (url: string) => void }> {
  let target: URL | undefined;
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    if (target === undefined) return void socket.destroy();
    const other = net.connect(Number(target.port), target.hostname);
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy()).on("close", () => sockets.delete(from));
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as net.AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    leadTo(url) {
      target = new URL(url);
      for (const socket of sockets) socket.destroy();
    },
  };
}
