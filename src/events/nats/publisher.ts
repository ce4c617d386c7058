import { fromBinary } from "@bufbuild/protobuf";
import type { Logger } from "pino";
import { EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes, toHex } from "../../core/bytes.ts";
import type { Random } from "../../core/random.ts";
import type { StoredEvent } from "../../log/log.ts";
import { openAnswer } from "../../statement/statement.ts";
import type { Publisher, PublisherSession } from "../publisher.ts";
import { connectNats, type NatsConnection, type OutgoingMessage } from "./client.ts";
import type { NatsSettings, StreamSettings } from "./settings.ts";
import { ensureStream, streamName } from "./stream.ts";
import { domainToken, eventSubject } from "./subjects.ts";

/** What a publisher is made of. */
export interface NatsPublisherOptions {
  settings: NatsSettings;
  stream: StreamSettings;
  /** Whose events they are. */
  registryDomain: string;
  random: Random;
  logger: Logger;
}

/**
 * Publishes a registry's events into its JetStream stream, which it makes if there is none.
 *
 * A message's ID is the event's Statement ID. Whoever may publish and knows an ID beforehand can take it, and the server would
 * drop the real message as a duplicate. So a duplicate is believed only if the message that is there is the event.
 */
export function createNatsPublisher(options: NatsPublisherOptions): Publisher {
  const { settings, stream, registryDomain } = options;
  return {
    name: `nats:${streamName(stream, registryDomain)}`,
    retentionSeconds: stream.maxAgeSeconds,
    async connect(signal) {
      const connection = await connectNats(settings, domainToken(registryDomain));
      try {
        signal.throwIfAborted();
        await ensureStream(connection, stream, registryDomain);
      } catch (error) {
        await connection.close();
        throw error;
      }
      return new Session(connection, streamName(stream, registryDomain), options);
    },
  };
}

class Session implements PublisherSession {
  readonly ended: Promise<void>;
  readonly #connection: NatsConnection;
  readonly #stream: string;
  readonly #random: Random;
  readonly #logger: Logger;

  constructor(connection: NatsConnection, stream: string, { random, logger }: NatsPublisherOptions) {
    this.ended = connection.ended;
    this.#connection = connection;
    this.#stream = stream;
    this.#random = random;
    this.#logger = logger;
  }

  async publish(event: StoredEvent): Promise<number> {
    const message = messageOf(event);
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

  async holds(position: number, event: StoredEvent): Promise<boolean> {
    const stream = await this.#connection.findStream(this.#stream);
    if (stream === undefined || stream.state.last_seq < position) return false;
    if (position < stream.state.first_seq) return true;
    const stored = await this.#connection.readMessage(this.#stream, position);
    return stored !== undefined && isSame(stored, messageOf(event));
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

type Content = Pick<OutgoingMessage, "subject" | "data">;

function isSame(a: Content, b: Content): boolean {
  return a.subject === b.subject && equalBytes(a.data, b.data);
}

function messageOf({ statement }: StoredEvent): OutgoingMessage {
  const { id, message } = openAnswer(EventSchema, fromBinary(StatementSchema, statement));
  return { subject: eventSubject(message), id: toHex(id), data: statement };
}
