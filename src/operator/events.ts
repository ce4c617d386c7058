import { z } from "zod";
import { systemClock } from "../core/clock.ts";
import { besideConfig } from "../core/config.ts";
import type { Logger } from "../core/log.ts";
import { systemRandom } from "../core/random.ts";
import type { EventCarrier } from "../events/carrier.ts";
import { createNatsCarrier } from "../events/nats/carrier.ts";
import { createNatsPublisher } from "../events/nats/publisher.ts";
import { defaultStreamSettings, type NatsSettings } from "../events/nats/settings.ts";
import { domainToken } from "../events/nats/subjects.ts";
import type { Publisher } from "../events/publisher.ts";
import { defined } from "./defined.ts";

const path = z.string().min(1, "a path");
const count = z.number().int().min(1);
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
        replicas: z.union([z.literal(1), z.literal(3), z.literal(5)]).default(1),
        maxAgeSeconds: count.default(defaultStreamSettings.maxAgeSeconds),
        maxBytes: count.default(defaultStreamSettings.maxBytes),
        duplicateWindowSeconds: count.default(defaultStreamSettings.duplicateWindowSeconds),
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
  /** By NATS JetStream: the registry publishes there beside Watch, the other parts listen there instead of to Watch. */
  nats: natsSchema,
});

type EventsConfig = z.output<typeof eventsSchema>;

/** Where a registry publishes its events beside Watch; nowhere by default. */
export function publisherOf(
  events: EventsConfig | undefined,
  { registryDomain, file, logger }: { registryDomain: string; file: string | undefined; logger: Logger },
): Publisher | undefined {
  if (events === undefined) return undefined;
  return createNatsPublisher({
    settings: natsSettings(events, file),
    stream: defined(events.nats.stream),
    registryDomain,
    random: systemRandom,
    logger,
  });
}

/** How events reach the part of a domain; undefined for its default, Watch. */
export function carrierOf(
  events: EventsConfig | undefined,
  { domain, file, logger }: { domain: string; file: string | undefined; logger: Logger },
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
