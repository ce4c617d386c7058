import { z } from "zod";
import { systemClock } from "../core/clock.ts";
import { besideConfig } from "../core/config.ts";
import type { Logger } from "../core/log.ts";
import { systemRandom } from "../core/random.ts";
import type { EventCarrier } from "../events/carrier.ts";
import { createNatsCarrier } from "../events/nats/carrier.ts";
import { createNatsPublisher, createNatsSessionPublisher } from "../events/nats/publisher.ts";
import { createNatsSessionCarrier } from "../events/nats/session-carrier.ts";
import { defaultSessionStreamSettings, defaultStreamSettings, type NatsSettings } from "../events/nats/settings.ts";
import { domainToken } from "../events/nats/subjects.ts";
import type { Publisher } from "../events/publisher.ts";
import { defined } from "./defined.ts";

const path = z.string().min(1, "a path");
const count = z.number().int().min(1);
const replicas = z.union([z.literal(1), z.literal(3), z.literal(5)]);
// Of one token of a subject, and of a stream or consumer.
const name = z.string().regex(/^[A-Za-z0-9_-]{1,255}$/, "letters, digits, _ and -");
const server = z
  .string()
  .regex(
    /^(?:(?:nats|tls):\/\/)?(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}$/,
    "host:port, without user or password",
  );

const natsSchema = z
  .strictObject({
    /** Those of a cluster are all listed. */
    servers: z.array(server).min(1),
    /** Requires TLS; without `caFile` the system's authorities count. Left out: only in a development configuration. */
    tls: z.strictObject({ caFile: path.optional(), certFile: path.optional(), keyFile: path.optional() }).optional(),
    credentialsFile: path.optional(),
    nkeySeedFile: path.optional(),
    stream: z
      .strictObject({
        name: name.optional(),
        replicas: replicas.default(1),
        maxAgeSeconds: count.default(defaultStreamSettings.maxAgeSeconds),
        maxBytes: count.default(defaultStreamSettings.maxBytes),
        duplicateWindowSeconds: count.default(defaultStreamSettings.duplicateWindowSeconds),
      })
      .prefault({}),
    /** The stream of an Auth Provider's session events. It keeps them for as long as the longest token lives. */
    sessionStream: z
      .strictObject({
        name: name.optional(),
        replicas: replicas.default(1),
        maxBytes: count.default(defaultSessionStreamSettings.maxBytes),
      })
      .prefault({}),
    /** The name of a part's durable consumer; made of its domain if left out. */
    consumer: name.optional(),
  })
  .superRefine(({ credentialsFile, nkeySeedFile, tls, stream }, context) => {
    const mistake = (at: string[], message: string) => context.addIssue({ code: "custom", path: at, message });
    if (credentialsFile !== undefined && nkeySeedFile !== undefined) {
      mistake(["nkeySeedFile"], "either credentialsFile or nkeySeedFile");
    }
    if ((tls?.certFile === undefined) !== (tls?.keyFile === undefined)) {
      mistake(["tls"], "certFile and keyFile together, or neither");
    }
    if (stream.duplicateWindowSeconds > stream.maxAgeSeconds) {
      mistake(["stream", "duplicateWindowSeconds"], "at most maxAgeSeconds");
    }
  });

/** How events travel. Left out: by `EventService.Watch`, which needs nothing else. */
export const eventsSchema = z.strictObject({
  /**
   * By NATS JetStream: the registry publishes there beside Watch, the other parts listen there instead of to Watch; and the
   * Auth Provider publishes the ends of sessions there beside WatchSessions, and services listen there too.
   */
  nats: natsSchema,
});

type EventsConfig = z.output<typeof eventsSchema>;

/** The part that a carrier or publisher is for. */
type PartOfEvents = { domain: string; file: string | undefined; logger: Logger };

/** Where a registry publishes its events beside Watch; nowhere by default. */
export function publisherOf(
  events: EventsConfig | undefined,
  { domain, file, logger }: PartOfEvents,
): Publisher | undefined {
  if (events === undefined) return undefined;
  const stream = defined(events.nats.stream);
  return createNatsPublisher({ settings: natsSettings(events, file), stream, domain, random: systemRandom, logger });
}

/** Where an Auth Provider publishes the ends of sessions beside WatchSessions; nowhere by default. */
export function sessionPublisherOf(
  events: EventsConfig | undefined,
  { domain, file, logger }: PartOfEvents,
): Publisher | undefined {
  if (events === undefined) return undefined;
  const stream = { ...defaultSessionStreamSettings, ...defined(events.nats.sessionStream) };
  const settings = natsSettings(events, file);
  return createNatsSessionPublisher({ settings, stream, domain, random: systemRandom, logger });
}

/** How the session events of an Auth Provider reach the part of a domain; undefined for the default, WatchSessions. */
export function sessionCarriersOf(
  events: EventsConfig | undefined,
  { domain, file, logger }: PartOfEvents,
): ((authProvider: string) => EventCarrier) | undefined {
  if (events === undefined) return undefined;
  const settings = natsSettings(events, file);
  const consumer = events.nats.consumer ?? domainToken(domain);
  return (authProvider) => createNatsSessionCarrier({ settings, authProvider, consumer, clock: systemClock, logger });
}

/** How events reach the part of a domain; undefined for its default, Watch. */
export function carrierOf(
  events: EventsConfig | undefined,
  { domain, file, logger }: PartOfEvents,
): EventCarrier | undefined {
  if (events === undefined) return undefined;
  return createNatsCarrier({
    settings: natsSettings(events, file),
    stream: defined(events.nats.stream),
    consumer: events.nats.consumer ?? domainToken(domain),
    clock: systemClock,
    logger,
  });
}

function natsSettings({ nats }: EventsConfig, file: string | undefined): NatsSettings {
  const { servers, tls, credentialsFile, nkeySeedFile } = nats;
  const beside = (name: string | undefined) => name && besideConfig(file, name);
  return defined({
    servers,
    tls: tls && defined({ caFile: beside(tls.caFile), certFile: beside(tls.certFile), keyFile: beside(tls.keyFile) }),
    credentialsFile: beside(credentialsFile),
    nkeySeedFile: beside(nkeySeedFile),
  });
}
