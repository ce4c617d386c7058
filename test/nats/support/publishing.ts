import { fromBinary } from "@bufbuild/protobuf";
import { connect, type NatsConnection, type StoredMsg } from "nats";
import pino, { type DestinationStream } from "pino";
import { expect, onTestFinished } from "vitest";
import { type Event, EventSchema, HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { StatementSchema } from "../../../gen/omi/statement/v1/statement_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { createNatsPublisher } from "../../../src/events/nats/publisher.ts";
import { defaultStreamSettings, type NatsSettings, type StreamSettings } from "../../../src/events/nats/settings.ts";
import type { Publisher } from "../../../src/events/publisher.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { testBytes } from "../../support/keys.ts";
import { type RunningRegistry, registryDomain } from "../../support/registry.ts";
import type { TestNats } from "./nats-server.ts";

/** The stream of the tests' registry. */
export const stream = "omi_omi-registry_test";

/** A log that a test can look into. */
export interface TestLog {
  /** The lines so far. */
  lines(): Record<string, unknown>[];
  readonly destination: DestinationStream;
}

/** A new empty log. */
export function testLog(): TestLog {
  const lines: Record<string, unknown>[] = [];
  return { lines: () => lines, destination: { write: (line) => lines.push(JSON.parse(line)) } };
}

/** A publisher for the tests' registry. */
export function publisherTo(
  nats: Pick<TestNats, "address">,
  settings: Partial<NatsSettings> & { stream?: Partial<StreamSettings>; log?: TestLog } = {},
): Publisher {
  const { stream: streamSettings, log, ...connection } = settings;
  return createNatsPublisher({
    settings: { servers: [nats.address], ...connection },
    stream: { ...defaultStreamSettings, maxBytes: 64 * 1024 * 1024, ...streamSettings },
    domain: registryDomain,
    random: testBytes,
    logger: log === undefined ? pino({ level: process.env.LOG_LEVEL ?? "silent" }) : pino({}, log.destination),
  });
}

/** A connection beside those of the mesh. */
export async function bareConnection(nats: TestNats): Promise<NatsConnection> {
  const connection = await connect({ servers: nats.address, reconnect: false });
  onTestFinished(() => connection.close());
  return connection;
}

/** A message of the stream, and the event in it. */
export interface StoredEventMessage {
  subject: string;
  sequence: number;
  messageId: string;
  /** The Statement ID in hex. */
  id: string;
  event: Event;
}

/** All messages of the stream that hold events, oldest first. */
export async function storedEvents(nats: TestNats): Promise<StoredEventMessage[]> {
  const messages = await storedMessages(nats);
  return messages.flatMap(({ subject, seq, header, data }) => {
    try {
      const { id, message } = openAnswer(EventSchema, fromBinary(StatementSchema, data));
      return [{ subject, sequence: seq, messageId: header.get("Nats-Msg-Id"), id: toHex(id), event: message }];
    } catch {
      return [];
    }
  });
}

/** All messages of the stream. */
export async function storedMessages(nats: TestNats): Promise<StoredMsg[]> {
  const connection = await connect({ servers: nats.address, reconnect: false });
  try {
    const manager = await connection.jetstreamManager();
    const { state } = await manager.streams.info(stream);
    const messages: StoredMsg[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      // Deleted messages leave holes.
      const message = await manager.streams.getMessage(stream, { seq }).catch(() => undefined);
      if (message !== undefined) messages.push(message);
    }
    return messages;
  } finally {
    await connection.close();
  }
}

/** The sequences of an app's events as they came first. */
export function firstSequences(events: readonly StoredEventMessage[], appId: string): number[] {
  return [...new Set(events.filter(({ event }) => event.appId === appId).map(({ event }) => Number(event.sequence)))];
}

/** The numbers from 1 on. */
export function countTo(end: number): number[] {
  return Array.from({ length: end }, (_, index) => index + 1);
}

/** Waits until the registry has published everything that it has committed. */
export async function untilPublished({ registryPart, events }: RunningRegistry): Promise<void> {
  const { heads } = await events.getHeads({});
  if (heads === undefined) throw new Error("no heads");
  const { logIndex } = openAnswer(HeadsSchema, heads).message;
  await expect.poll(() => registryPart.publishedIndex(), { timeout: 60_000, interval: 20 }).toBe(Number(logIndex));
}

/** A stream that soon forgets which message IDs it has seen. */
export const shortMemory = { duplicateWindowSeconds: 0.1 } as const;

/** Waits until the stream has forgotten all message IDs that it has seen so far. */
export async function untilForgotten(nats: TestNats): Promise<void> {
  const jetstream = (await bareConnection(nats)).jetstream();
  const probe = { msgID: toHex(testBytes(16)) };
  const publish = () => jetstream.publish("omi.v1.omi-registry_test.probe", "", probe);
  await publish();
  await expect.poll(async () => (await publish()).duplicate, { timeout: 30_000, interval: 50 }).toBe(false);
}
