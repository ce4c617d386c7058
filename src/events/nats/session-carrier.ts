import { fromBinary } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { Carrier } from "../../../gen/omi/event/v1/subscriber_service_pb.ts";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import type { Clock } from "../../core/clock.ts";
import type { CarrierConnection, CarrierListener, EventCarrier } from "../carrier.ts";
import { endedOrAborted, keepConnected } from "../keep-connected.ts";
import { connectNats, type NatsConnection } from "./client.ts";
import type { NatsSettings } from "./settings.ts";
import { sessionRevokedSubject } from "./subjects.ts";

/** What a carrier of session events is made of. */
export interface NatsSessionCarrierOptions {
  settings: NatsSettings;
  /** The Auth Provider whose events they are. */
  authProvider: string;
  /** The name of the part that listens: letters, digits, `_` and `-`. */
  consumer: string;
  clock: Clock;
  logger: Logger;
}

/** After how long a subject that the server does not allow is asked for again, in milliseconds. */
const DENIED_RETRY_MS = 60_000;

/**
 * The session events of one Auth Provider by NATS: one subscription for each app, so that the server can keep a part from the
 * apps that it does not serve. It reads the subjects and not the stream. What is missed meanwhile, whoever listens has to ask
 * the Auth Provider for anyway, which alone can say that it was all; a consumer for each app and part would only add
 * permissions and state. Heads don't come this way.
 */
export function createNatsSessionCarrier(options: NatsSessionCarrierOptions): EventCarrier {
  return { kind: Carrier.NATS, open: (listener) => new SessionConnection(options, listener) };
}

class SessionConnection implements CarrierConnection {
  readonly #options: NatsSessionCarrierOptions;
  readonly #listener: CarrierListener;
  /** The apps, each with what ends its subscription over the connection that there is. */
  readonly #apps = new Map<string, () => void>();
  /** What ends the timers of subscriptions that were denied. */
  readonly #retries = new Map<string, () => void>();
  readonly #end = new AbortController();
  readonly #running: Promise<void>;
  #connection: NatsConnection | undefined;

  constructor(options: NatsSessionCarrierOptions, listener: CarrierListener) {
    this.#options = options;
    this.#listener = listener;
    this.#running = keepConnected({
      what: `session events of ${options.authProvider}`,
      clock: options.clock,
      logger: options.logger,
      signal: this.#end.signal,
      session: (established) => this.#session(established),
    });
  }

  add(appId: string): void {
    if (this.#apps.has(appId)) return;
    this.#apps.set(appId, () => {});
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#subscribe(connection, appId);
    // What was published before the server took the subscription may have been missed.
    connection.flush().then(
      () => this.#listener.connected(),
      () => {},
    );
  }

  remove(appId: string): void {
    this.#retries.get(appId)?.();
    this.#retries.delete(appId);
    this.#apps.get(appId)?.();
    this.#apps.delete(appId);
  }

  close(): Promise<void> {
    this.#end.abort();
    return this.#running;
  }

  async #session(established: () => void): Promise<void> {
    const { settings, consumer } = this.#options;
    const connection = await connectNats(settings, consumer);
    try {
      if (this.#end.signal.aborted) return;
      this.#connection = connection;
      for (const appId of this.#apps.keys()) this.#subscribe(connection, appId);
      await connection.flush();
      established();
      // Only now: what is published from here on comes by itself, so whoever looks what was missed misses nothing.
      this.#listener.connected();
      await endedOrAborted([connection.ended], this.#end.signal);
    } finally {
      this.#connection = undefined;
      for (const cancel of this.#retries.values()) cancel();
      this.#retries.clear();
      // The subscriptions end with the connection: nothing is said over one that may be gone.
      for (const appId of this.#apps.keys()) this.#apps.set(appId, () => {});
      await connection.close();
    }
  }

  #subscribe(connection: NatsConnection, appId: string): void {
    const { authProvider, clock, logger } = this.#options;
    const subject = sessionRevokedSubject(authProvider, appId);
    const unsubscribe = connection.subscribe(
      subject,
      (data) => this.#take(appId, data),
      (error) => {
        this.#apps.set(appId, () => {});
        this.#retries.set(
          appId,
          clock.setTimer(DENIED_RETRY_MS, () => this.#subscribe(connection, appId)),
        );
        const nextStep =
          "Allow this part's user to subscribe to it. Until then ends of sessions are some seconds late.";
        logger.error(
          { appId, subject, err: error, nextStep, retryMs: DENIED_RETRY_MS },
          "NATS does not let this part listen",
        );
      },
    );
    this.#apps.set(appId, unsubscribe);
  }

  #take(appId: string, data: Uint8Array): void {
    if (this.#end.signal.aborted) return;
    const event = decode(data);
    if (event === undefined) {
      this.#options.logger.warn({ appId }, "a message among the session events is none");
      return;
    }
    this.#listener.receive({ event }).catch((err: unknown) => {
      this.#options.logger.warn({ err, appId }, "a session event could not be taken");
    });
  }
}

function decode(data: Uint8Array): Statement | undefined {
  try {
    return fromBinary(StatementSchema, data);
  } catch {
    return undefined;
  }
}
