import { fromBinary } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { SessionRevokedSchema } from "../../../gen/omi/auth/v1/session_service_pb.ts";
import { EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { type Statement, StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes, toHex } from "../../core/bytes.ts";
import type { Random } from "../../core/random.ts";
import { openAnswer } from "../../statement/statement.ts";
import type { OutboxEvent, Publisher, PublisherSession } from "../publisher.ts";
import { connectNats, type NatsConnection, type OutgoingMessage } from "./client.ts";
import type { NatsSettings, StreamSettings } from "./settings.ts";
import { ensureStream, registryStream, type StreamPlan, sessionStream } from "./stream.ts";
import { domainToken, eventSubject, sessionRevokedSubject } from "./subjects.ts";

/** What a publisher is made of. */
export interface NatsPublisherOptions {
  settings: NatsSettings;
  stream: StreamSettings;
  /** The part that publishes. */
  domain: string;
  random: Random;
  logger: Logger;
}

/** Publishes a registry's events into its JetStream stream, which it makes if there is none. */
export function createNatsPublisher(options: NatsPublisherOptions): Publisher {
  return publisherInto(registryStream(options.stream, options.domain), options, (statement) => {
    const { id, message } = openAnswer(EventSchema, statement);
    return { id, subject: eventSubject(message) };
  });
}

/** Publishes an Auth Provider's session events into a stream of their own, which it makes if there is none. */
export function createNatsSessionPublisher(options: NatsPublisherOptions): Publisher {
  return publisherInto(sessionStream(options.stream, options.domain), options, (statement) => {
    const { id, message } = openAnswer(SessionRevokedSchema, statement);
    return { id, subject: sessionRevokedSubject(message.origin, message.appId) };
  });
}

/** The Statement ID of an event, and the subject under which it is published. */
type Address = (statement: Statement) => { readonly id: Uint8Array; readonly subject: string };

/**
 * A message's ID is the event's Statement ID. Whoever may publish and knows an ID beforehand can take it, and the server would
 * drop the real message as a duplicate. So a duplicate is believed only if the message that is there is the event.
 */
function publisherInto(plan: StreamPlan, options: NatsPublisherOptions, addressOf: Address): Publisher {
  const { settings, stream, domain } = options;
  return {
    name: `nats:${plan.name}`,
    retentionSeconds: stream.maxAgeSeconds,
    async connect(signal) {
      const connection = await connectNats(settings, domainToken(domain));
      try {
        signal.throwIfAborted();
        await ensureStream(connection, plan, stream);
      } catch (error) {
        await connection.close();
        throw error;
      }
      return new Session(connection, plan.name, addressOf, options);
    },
  };
}

class Session implements PublisherSession {
  readonly ended: Promise<void>;
  readonly #connection: NatsConnection;
  readonly #stream: string;
  readonly #addressOf: Address;
  readonly #random: Random;
  readonly #logger: Logger;

  constructor(
    connection: NatsConnection,
    stream: string,
    addressOf: Address,
    { random, logger }: Pick<NatsPublisherOptions, "random" | "logger">,
  ) {
    this.ended = connection.ended;
    this.#connection = connection;
    this.#stream = stream;
    this.#addressOf = addressOf;
    this.#random = random;
    this.#logger = logger;
  }

  async publish(event: OutboxEvent): Promise<number> {
    const message = this.#messageOf(event);
    const first = await this.#connection.publish(this.#stream, message);
    if (!first.duplicate) return first.sequence;
    // The server dropped the event because of an earlier message: the event itself, sent before a crash or without an answer?
    const stored = await this.#connection.readMessage(this.#stream, first.sequence);
    if (stored !== undefined) {
      if (isSame(stored, message)) return first.sequence;
      this.#logger.error(
        { alarm: "foreign-message", subject: message.subject, messageId: message.id, sequence: first.sequence },
        "somebody else's message has the ID of an event; the event is published under another one",
      );
    }
    const id = `${message.id}.${toHex(this.#random(16))}`;
    const second = await this.#connection.publish(this.#stream, { ...message, id });
    if (second.duplicate) throw new Error("the server takes a new message for a duplicate");
    return second.sequence;
  }

  async holds(position: number, event: OutboxEvent): Promise<boolean> {
    const stream = await this.#connection.findStream(this.#stream);
    if (stream === undefined || stream.state.last_seq < position) return false;
    if (position < stream.state.first_seq) return true;
    const stored = await this.#connection.readMessage(this.#stream, position);
    return stored !== undefined && isSame(stored, this.#messageOf(event));
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  #messageOf({ statement }: OutboxEvent): OutgoingMessage {
    const { id, subject } = this.#addressOf(fromBinary(StatementSchema, statement));
    return { subject, id: toHex(id), data: statement };
  }
}

type Content = Pick<OutgoingMessage, "subject" | "data">;

function isSame(a: Content, b: Content): boolean {
  return a.subject === b.subject && equalBytes(a.data, b.data);
}
