import pino from "pino";
import type { EventCarrier } from "../../../src/events/carrier.ts";
import { createNatsSessionPublisher } from "../../../src/events/nats/publisher.ts";
import { createNatsSessionCarrier } from "../../../src/events/nats/session-carrier.ts";
import {
  defaultSessionStreamSettings,
  type NatsSettings,
  type StreamSettings,
} from "../../../src/events/nats/settings.ts";
import type { Publisher } from "../../../src/events/publisher.ts";
import { testBytes } from "../../support/keys.ts";
import { providers } from "../../support/registry.ts";
import { consumer } from "./listening.ts";
import { LiveClock } from "./live-clock.ts";
import type { TestNats } from "./nats-server.ts";
import type { TestLog } from "./publishing.ts";

/** The stream of the tests' Auth Provider. */
export const sessionStream = "omi-sessions_auth_test";

const loggerTo = (log: TestLog | undefined) =>
  log === undefined ? pino({ level: process.env.LOG_LEVEL ?? "silent" }) : pino({}, log.destination);

/** A publisher for the tests' Auth Provider. */
export function sessionPublisherTo(
  nats: Pick<TestNats, "address">,
  settings: Partial<NatsSettings> & { stream?: Partial<StreamSettings>; log?: TestLog } = {},
): Publisher {
  const { stream, log, ...connection } = settings;
  return createNatsSessionPublisher({
    settings: { servers: [nats.address], ...connection },
    stream: { ...defaultSessionStreamSettings, maxBytes: 16 * 1024 * 1024, ...stream },
    domain: providers.auth.domain,
    random: testBytes,
    logger: loggerTo(log),
  });
}

/** Carriers of session events, as a part has them. */
export function sessionCarriersFrom(
  nats: Pick<TestNats, "address">,
  { log, ...settings }: Partial<NatsSettings> & { log?: TestLog } = {},
): (authProvider: string) => EventCarrier {
  return (authProvider) =>
    createNatsSessionCarrier({
      settings: { servers: [nats.address], ...settings },
      authProvider,
      consumer,
      clock: new LiveClock(),
      logger: loggerTo(log),
    });
}
