import { readFileSync } from "node:fs";
import {
  AckPolicy,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  DebugEvents,
  DeliverPolicy,
  deadline,
  type JsMsg,
  type NatsConnection as NatsClient,
  NatsError,
  nanos,
  nkeyAuthenticator,
  type StreamConfig,
  type StreamInfo,
  type TlsOptions,
} from "nats";
import { utf8 } from "../../core/bytes.ts";
import { readPrivateText } from "../../core/key-file.ts";
import { SetupError } from "../setup-error.ts";
import type { NatsSettings } from "./settings.ts";

// The only file that knows the NATS client library.

export type { StreamConfig, StreamInfo } from "nats";
export { DiscardPolicy, nanos, RetentionPolicy, StorageType } from "nats";

/** How long the server may take to answer, in milliseconds. */
const REQUEST_TIMEOUT_MS = 5000;

/** How often a silent server is asked for a sign of life, in milliseconds. */
const PING_INTERVAL_MS = 10_000;

/**
 * How long one request for messages is open, in milliseconds. The server is to give a sign of life twice in that time, and is
 * asked anew after two that are missing: so soon is it noticed that a server of the cluster is gone.
 */
const PULL_EXPIRES_MS = 10_000;

/** How long closing a connection may take, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2000;

/** Credentials name all permissions of their user, so they can be long, in bytes. */
const MAX_SEED_FILE_LENGTH = 64 * 1024;

/** Error codes of the JetStream API (nats-server, `server/errors.json`). */
const NOT_FOUND_CODES: ReadonlySet<number | undefined> = new Set([
  10_037, // no message found
  10_059, // stream not found
]);

/** A message to publish. */
export interface OutgoingMessage {
  readonly subject: string;
  /** `Nats-Msg-Id`: a second message of this ID within the stream's duplicate window is dropped. */
  readonly id: string;
  readonly data: Uint8Array;
}

/** A durable pull consumer. */
export interface ConsumerSettings {
  readonly name: string;
  readonly filterSubject: string;
  /** How long a message may stay unacknowledged before it is delivered again, in seconds. */
  readonly ackWaitSeconds: number;
  /** How many messages may be unacknowledged. */
  readonly maxAckPending: number;
  /** How often one message is delivered at the most. */
  readonly maxDeliver: number;
  /** The server forgets the consumer when nobody used it for so long, in seconds. */
  readonly inactiveThresholdSeconds: number;
}

/** A message that was delivered. Exactly one of its functions is to be called. */
export interface Delivery {
  readonly data: Uint8Array;
  /** It is done with. */
  ack(): void;
  /** It is worthless, however often it is delivered. */
  terminate(): void;
  /** It shall come again, not before `milliseconds` have passed. */
  retry(milliseconds: number): void;
}

/** One connection, which is not kept up: once it is lost it stays so, and whoever uses it makes a new one. */
export interface NatsConnection {
  /** Resolves when the connection is lost or was closed. */
  readonly ended: Promise<void>;
  /**
   * Publishes into a stream.
   *
   * @returns the message's sequence there; `duplicate` if the stream already had a message of its ID, which is the one at
   *   that sequence
   */
  publish(stream: string, message: OutgoingMessage): Promise<{ sequence: number; duplicate: boolean }>;
  /** The message at a sequence of a stream; undefined if there is none. */
  readMessage(stream: string, sequence: number): Promise<{ subject: string; data: Uint8Array } | undefined>;
  /** A stream and its state; undefined if there is none of this name. */
  findStream(name: string): Promise<StreamInfo | undefined>;
  createStream(config: Partial<StreamConfig> & { name: string }): Promise<void>;
  updateStream(config: StreamConfig): Promise<void>;
  /**
   * Makes a consumer, or brings the one of this name in line. A new one begins with the messages that are published from now
   * on.
   */
  ensureConsumer(stream: string, settings: ConsumerSettings): Promise<void>;
  /** Hands over messages of a consumer as they come, until `ended` resolves. */
  consume(stream: string, consumer: string, onMessage: (delivery: Delivery) => void): Promise<Consumption>;
  /**
   * Hands over what is published under a subject from now on, until the connection ends. Nothing is delivered twice, and
   * what gets lost is lost.
   *
   * @param onDenied - the server does not allow it; nothing will come
   * @returns ends it
   */
  subscribe(subject: string, onMessage: (data: Uint8Array) => void, onDenied: (error: unknown) => void): () => void;
  /** Resolves when the server has taken all that was said to it so far. Rejects if it doesn't say so, or the connection ends. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** A consumer that delivers. */
export interface Consumption {
  /** Resolves when it delivers no more: it was stopped, or the consumer or its stream is gone. */
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

/**
 * Connects once.
 *
 * @param name - who connects: one token of a subject. Answers come to `_INBOX.<name>.>`
 * @throws KeyFileError if a file with a seed can't be read or can be read by others
 * @throws SetupError if a file for TLS can't be read
 */
export async function connectNats(settings: NatsSettings, name: string): Promise<NatsConnection> {
  return new Connection(await connect(connectionOptions(settings, name)));
}

function connectionOptions({ servers, tls, credentialsFile, nkeySeedFile }: NatsSettings, name: string) {
  const options: ConnectionOptions = {
    servers: [...servers],
    name,
    // A place for answers of its own, so that permissions can keep users from each other's answers.
    inboxPrefix: `_INBOX.${name}`,
    // A lost connection takes everything with it that waits for an answer; the next one begins by looking where things stand.
    reconnect: false,
    timeout: REQUEST_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    ...(tls === undefined ? {} : { tls: tlsOptions(tls) }),
  };
  const text = (path: string) => readPrivateText(path, MAX_SEED_FILE_LENGTH).trim();
  // The library wants a line break behind the last line.
  if (credentialsFile !== undefined) options.authenticator = credsAuthenticator(utf8(`${text(credentialsFile)}\n`));
  if (nkeySeedFile !== undefined) options.authenticator = nkeyAuthenticator(utf8(text(nkeySeedFile)));
  return options;
}

/**
 * The files' texts: the library would read files while nobody listens to its socket's errors, so that a connection reset
 * just then ended the process.
 */
function tlsOptions({ caFile, certFile, keyFile }: NatsSettings["tls"] & object): TlsOptions {
  const options: TlsOptions = {};
  if (caFile !== undefined) options.ca = pemText("tls.caFile", caFile);
  if (certFile !== undefined) options.cert = pemText("tls.certFile", certFile);
  if (keyFile !== undefined) options.key = pemText("tls.keyFile", keyFile);
  return options;
}

function pemText(setting: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new SetupError(`${path} can't be read (${code})`, `Set ${setting} to a readable PEM file.`, error);
  }
}

class Connection implements NatsConnection {
  readonly ended: Promise<void>;
  readonly #nats: NatsClient;
  readonly #jetstream;

  constructor(nats: NatsClient) {
    this.#nats = nats;
    this.#jetstream = nats.jetstream({ timeout: REQUEST_TIMEOUT_MS });
    this.ended = Promise.race([nats.closed().then(() => {}), stale(nats)]);
  }

  async publish(stream: string, { subject, id, data }: OutgoingMessage) {
    const expect = { streamName: stream };
    const { seq, duplicate } = await this.#jetstream.publish(subject, data, { msgID: id, expect });
    return { sequence: seq, duplicate };
  }

  async readMessage(stream: string, sequence: number) {
    const manager = await this.#manager();
    const message = await unlessNotFound(manager.streams.getMessage(stream, { seq: sequence }));
    return message && { subject: message.subject, data: message.data };
  }

  async findStream(name: string): Promise<StreamInfo | undefined> {
    const manager = await this.#manager();
    return unlessNotFound(manager.streams.info(name));
  }

  async createStream(config: Partial<StreamConfig> & { name: string }): Promise<void> {
    const manager = await this.#manager();
    await manager.streams.add(config);
  }

  async updateStream(config: StreamConfig): Promise<void> {
    const manager = await this.#manager();
    await manager.streams.update(config.name, config);
  }

  async ensureConsumer(stream: string, settings: ConsumerSettings): Promise<void> {
    const manager = await this.#manager();
    await manager.consumers.add(stream, {
      durable_name: settings.name,
      filter_subject: settings.filterSubject,
      deliver_policy: DeliverPolicy.New,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(settings.ackWaitSeconds * 1000),
      max_ack_pending: settings.maxAckPending,
      max_deliver: settings.maxDeliver,
      inactive_threshold: nanos(settings.inactiveThresholdSeconds * 1000),
    });
  }

  async consume(stream: string, name: string, onMessage: (delivery: Delivery) => void): Promise<Consumption> {
    const consumer = await this.#jetstream.consumers.get(stream, name);
    const messages = await consumer.consume({
      callback: (message) => onMessage(delivery(this.#nats, message)),
      abort_on_missing_resource: true,
      expires: PULL_EXPIRES_MS,
    });
    return {
      ended: messages.closed().then(() => {}),
      stop: async () => {
        await messages.close();
      },
    };
  }

  subscribe(subject: string, onMessage: (data: Uint8Array) => void, onDenied: (error: unknown) => void): () => void {
    // The library throws then, perhaps before anybody was told that the connection ended.
    if (this.#nats.isClosed()) return () => {};
    const subscription = this.#nats.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) onMessage(message.data);
        else onDenied(error);
      },
    });
    return () => {
      if (!this.#nats.isClosed()) subscription.unsubscribe();
    };
  }

  flush(): Promise<void> {
    // The library never tells who waits for this that the connection is lost.
    const lost = this.ended.then(() => {
      throw new Error("the connection ended");
    });
    return deadline(Promise.race([this.#nats.flush(), lost]), REQUEST_TIMEOUT_MS);
  }

  async close(): Promise<void> {
    // The library first waits until what it wrote has left, which a network that swallows everything never lets happen.
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    await Promise.race([this.#nats.close(), patience]);
    clearTimeout(timer);
  }

  #manager() {
    // Unchecked: asking for the account's limits is a permission that nobody needs here.
    return this.#jetstream.jetstreamManager(false);
  }
}

/** Resolves when the server has not answered for so long that the library gives it up, or the connection is closed. */
async function stale(nats: NatsClient): Promise<void> {
  for await (const { type } of nats.status()) if (type === DebugEvents.StaleConnection) return;
}

function delivery(nats: NatsClient, message: JsMsg): Delivery {
  // Over a connection that is gone nothing can be said; the server delivers the message again.
  const unlessClosed = (say: () => void) => {
    if (!nats.isClosed()) say();
  };
  return {
    data: message.data,
    ack: () => unlessClosed(() => message.ack()),
    terminate: () => unlessClosed(() => message.term()),
    retry: (milliseconds) => unlessClosed(() => message.nak(milliseconds)),
  };
}

/** True if the server answered that it won't do what it was asked for; false for what may pass by itself. */
export function isRefusedByServer(error: unknown): boolean {
  if (!(error instanceof NatsError)) return false;
  // 503: JetStream is not ready.
  return error.isPermissionError() || (error.api_error !== undefined && error.api_error.code !== 503);
}

async function unlessNotFound<T>(request: Promise<T>): Promise<T | undefined> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof NatsError && NOT_FOUND_CODES.has(error.api_error?.err_code)) return undefined;
    throw error;
  }
}
