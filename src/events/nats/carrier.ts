import { fromBinary } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { Carrier } from "../../../gen/omi/event/v1/subscriber_service_pb.ts";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { parseAppId } from "../../core/app-id.ts";
import type { Clock } from "../../core/clock.ts";
import { peekAnswer } from "../../statement/statement.ts";
import type { CarrierConnection, CarrierListener, EventCarrier } from "../carrier.ts";
import { endedOrAborted, keepConnected } from "../keep-connected.ts";
import { type ConsumerSettings, connectNats, type Delivery } from "./client.ts";
import type { NatsSettings, StreamSettings } from "./settings.ts";
import { registryStream } from "./stream.ts";

/** What a carrier is made of. */
export interface NatsCarrierOptions {
  settings: NatsSettings;
  stream: Pick<StreamSettings, "name">;
  /**
   * The name of the durable consumer: the part's own, letters, digits, `_` and `-`. Two that share a name share the events
   * between them, and each gets only some.
   */
  consumer: string;
  clock: Clock;
  logger: Logger;
}

const limits = {
  ackWaitSeconds: 30,
  maxAckPending: 256,
  // After that the event is found missing by the registry's heads.
  maxDeliver: 20,
  // A part that is gone for longer finds by the heads what it missed.
  inactiveThresholdSeconds: 7 * 24 * 3600,
} satisfies Partial<ConsumerSettings>;

/** After how long an event whose effect could not be stored comes again, in milliseconds. */
const RETRY_MS = 1000;

/**
 * Events by NATS JetStream: one durable consumer for each registry that has apps here. It gets all events of that registry and
 * hands over those of the apps that are listened to. Heads don't come this way.
 */
export function createNatsCarrier(options: NatsCarrierOptions): EventCarrier {
  return {
    kind: Carrier.NATS,
    open: (listener) => new NatsCarrierConnection(options, listener),
  };
}

class NatsCarrierConnection implements CarrierConnection {
  readonly #options: NatsCarrierOptions;
  readonly #listener: CarrierListener;
  readonly #feeds = new Map<string, Feed>();
  readonly #ending = new Set<Promise<void>>();
  #closed = false;

  constructor(options: NatsCarrierOptions, listener: CarrierListener) {
    this.#options = options;
    this.#listener = listener;
  }

  add(appId: string): void {
    const registry = parseAppId(appId)?.registryDomain;
    if (registry === undefined || this.#closed) return;
    let feed = this.#feeds.get(registry);
    if (feed === undefined) {
      feed = new Feed(registry, this.#options, this.#listener);
      this.#feeds.set(registry, feed);
    }
    feed.apps.add(appId);
  }

  remove(appId: string): void {
    for (const [registry, feed] of this.#feeds) {
      feed.apps.delete(appId);
      if (feed.apps.size > 0) continue;
      this.#feeds.delete(registry);
      const ending = feed.close().finally(() => this.#ending.delete(ending));
      this.#ending.add(ending);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#ending, ...[...this.#feeds.values()].map((feed) => feed.close())]);
  }
}

/** The events of one registry. */
class Feed {
  readonly apps = new Set<string>();
  readonly #registry: string;
  readonly #options: NatsCarrierOptions;
  readonly #listener: CarrierListener;
  readonly #end = new AbortController();
  readonly #running: Promise<void>;

  constructor(registry: string, options: NatsCarrierOptions, listener: CarrierListener) {
    this.#registry = registry;
    this.#options = options;
    this.#listener = listener;
    this.#running = keepConnected({
      what: `events of ${registry}`,
      clock: options.clock,
      logger: options.logger,
      signal: this.#end.signal,
      session: (established) => this.#session(established),
    });
  }

  close(): Promise<void> {
    this.#end.abort();
    return this.#running;
  }

  async #session(established: () => void): Promise<void> {
    const { settings, consumer } = this.#options;
    const { name: stream, subjects: filterSubject } = registryStream(this.#options.stream, this.#registry);
    const connection = await connectNats(settings, consumer);
    try {
      await connection.ensureConsumer(stream, { ...limits, name: consumer, filterSubject });
      if (this.#end.signal.aborted) return;
      const consumption = await connection.consume(stream, consumer, (delivery) => this.#take(delivery));
      established();
      // Only now: what is published from here on comes by itself, so whoever looks what was missed misses nothing.
      this.#listener.connected();
      await endedOrAborted([consumption.ended, connection.ended], this.#end.signal);
      await consumption.stop();
    } finally {
      await connection.close();
    }
  }

  #take(delivery: Delivery): void {
    if (this.#end.signal.aborted) return;
    const event = decodeStatement(delivery.data);
    if (event === undefined) {
      this.#options.logger.warn({ registry: this.#registry }, "a message in the stream is no event");
      delivery.terminate();
      return;
    }
    const appId = appOf(event);
    // What can't be opened is about no app. The listener counts it among what does not verify.
    if (appId !== undefined && !this.apps.has(appId)) {
      delivery.ack();
      return;
    }
    this.#listener.receive({ event }).then(
      () => delivery.ack(),
      (err: unknown) => {
        this.#options.logger.warn({ err, appId }, "an event could not be taken");
        delivery.retry(RETRY_MS);
      },
    );
  }
}

function decodeStatement(data: Uint8Array): Statement | undefined {
  try {
    return fromBinary(StatementSchema, data);
  } catch {
    return undefined;
  }
}

/** The app that an event says it is about; undefined if it isn't even signed, or no event. */
function appOf(statement: Statement): string | undefined {
  try {
    return peekAnswer(EventSchema, statement).appId;
  } catch {
    return undefined;
  }
}
