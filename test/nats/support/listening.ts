import pino from "pino";
import { onTestFinished } from "vitest";
import { EventSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import type { Statement } from "../../../gen/omi/statement/v1/statement_pb.ts";
import type { CarriedMessage, CarrierConnection, EventCarrier } from "../../../src/events/carrier.ts";
import { createNatsCarrier } from "../../../src/events/nats/carrier.ts";
import type { NatsSettings } from "../../../src/events/nats/settings.ts";
import { openAnswer } from "../../../src/statement/statement.ts";
import { LiveClock } from "./live-clock.ts";
import type { TestNats } from "./nats-server.ts";

/** The consumer of the tests. */
export const consumer = "article_cms_test";

/** A carrier as a part has it. */
export function carrierFrom(
  nats: TestNats,
  { consumer: name = consumer, ...settings }: Partial<NatsSettings> & { consumer?: string } = {},
): EventCarrier {
  return createNatsCarrier({
    settings: { servers: [nats.address], ...settings },
    stream: {},
    consumer: name,
    clock: new LiveClock(),
    logger: pino({ level: process.env.LOG_LEVEL ?? "silent" }),
  });
}

/** Listens to a carrier without a subscriber behind it. */
export interface Ear {
  readonly connection: CarrierConnection;
  /** App and sequence of each event of a registry that came, as `<appId> <sequence>`. */
  readonly heard: string[];
  /** All events that came, as they were signed. */
  readonly messages: Statement[];
  /** How often the carrier was connected. */
  readonly connected: () => number;
}

/** Opens a carrier for some apps; closed with the test. */
export function openEar(
  carrier: EventCarrier,
  appIds: readonly string[],
  receive: (sequence: number) => Promise<void> = async () => {},
): Ear {
  const heard: string[] = [];
  const messages: Statement[] = [];
  let connected = 0;
  const connection = carrier.open({
    async receive(message: CarriedMessage) {
      if (!("event" in message) || message.event.signature.length === 0) return;
      messages.push(message.event);
      if (message.event.type !== EventSchema.typeName) return;
      const { appId, sequence } = openAnswer(EventSchema, message.event).message;
      heard.push(`${appId} ${sequence}`);
      await receive(Number(sequence));
    },
    connected() {
      connected++;
    },
  });
  for (const appId of appIds) connection.add(appId, 0n);
  onTestFinished(() => connection.close());
  return { connection, heard, messages, connected: () => connected };
}
