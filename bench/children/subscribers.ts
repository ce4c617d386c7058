import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { create, toJson } from "@bufbuild/protobuf";
import { DirectoryEntrySchema, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyAlgorithm } from "../../gen/omi/key/v1/key_pb.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createLogger } from "../../src/core/log.ts";
import { systemRandom } from "../../src/core/random.ts";
import { clientConfigSchema } from "../../src/directory/client-config.ts";
import { createConnections } from "../../src/directory/connections.ts";
import { createNatsCarrier } from "../../src/events/nats/carrier.ts";
import { createSubscriber, subscriberMigration } from "../../src/events/subscriber/subscriber.ts";
import { createWatchCarrier } from "../../src/events/watch-carrier.ts";
import { openDatabase } from "../../src/store/database.ts";
import { WriteQueue } from "../../src/store/write-queue.ts";
import { Standings, standingsMigration } from "../../src/tenancy/standings.ts";
import { registryDomain, registryKey } from "../world.ts";
import { childOptions, monotonicMicros, serveLines } from "./lines.ts";

/**
 * Parts that listen to an app, as agents do: each with its own connections, its own file, which is synced at every commit, and
 * the effect that a rotation has there. They share this process, as they would share a machine.
 */
export interface SubscribersChildOptions {
  readonly count: number;
  /** Tells these parts from those of other processes. */
  readonly name: string;
  readonly folder: string;
  readonly appId: string;
  readonly registryUrl: string;
  /** `host:port` of a NATS server. Left out: events come by Watch. */
  readonly natsServer?: string;
}

/**
 * Asks until every part has applied the event of a sequence; answered with when each had, in microseconds. Or how often parts
 * had to ask the registry for events that their carrier had not brought.
 */
export type SubscribersQuestion = { readonly sequence: number } | { readonly caughtUp: true };

const { count, name, folder, appId, registryUrl, natsServer } = childOptions<SubscribersChildOptions>();
const logger = createLogger({ level: "error", component: "subscribers", destination: process.stderr });
const entry = create(DirectoryEntrySchema, {
  domain: registryDomain,
  party: Party.REGISTRY,
  baseUrl: `http://${registryDomain}`,
  keys: [{ publicKey: registryKey.publicKey, algorithm: KeyAlgorithm.ED25519 }],
});
const config = clientConfigSchema.parse({
  development: true,
  directory: [toJson(DirectoryEntrySchema, entry)],
  hosts: { [registryDomain]: new URL(registryUrl).host },
});

/** Of each sequence: when the parts had applied it. */
const appliedAt = new Map<number, number[]>();
let wake = () => {};

function applied(sequence: number): void {
  const times = appliedAt.get(sequence) ?? [];
  appliedAt.set(sequence, times);
  if (times.push(monotonicMicros()) === count) wake();
}

async function untilApplied(sequence: number): Promise<number[]> {
  while ((appliedAt.get(sequence)?.length ?? 0) < count) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  const times = appliedAt.get(sequence) ?? [];
  appliedAt.delete(sequence);
  return times;
}

async function startSubscriber(number: number) {
  const connections = createConnections(config, { clock: systemClock, random: systemRandom });
  const { registries } = connections;
  const db = openDatabase(join(folder, `${name}-${number}.sqlite`), [subscriberMigration + standingsMigration]);
  const writes = new WriteQueue(db);
  const standings = new Standings(db);
  const carrier =
    natsServer === undefined
      ? createWatchCarrier({ registries, clock: systemClock, random: systemRandom, logger })
      : createNatsCarrier({
          settings: { servers: [natsServer] },
          stream: {},
          consumer: `${name}_${number}`,
          clock: systemClock,
          logger,
        });
  let onConnected = () => {};
  const connected = new Promise<void>((resolve) => {
    onConnected = resolve;
  });
  const subscriber = createSubscriber({
    db,
    writes,
    registries,
    carrier: {
      kind: carrier.kind,
      open: (listener) =>
        carrier.open({
          receive: (message) => listener.receive(message),
          connected() {
            listener.connected();
            onConnected();
          },
        }),
    },
    clock: systemClock,
    random: systemRandom,
    logger,
    apply: (event) => standings.apply(event),
    applied: ({ sequence }) => applied(Number(sequence)),
  });
  subscriber.add(appId);
  await subscriber.start();
  await connected;
  // What happened before has been applied, and what comes now comes by the carrier.
  while ((await subscriber.currentSequence(appId).catch(() => 0n)) === 0n) await setTimeout(100);
  return {
    caughtUp: () => Number(subscriber.status(appId)?.counts?.caughtUp ?? 0n),
    async stop() {
      await subscriber.stop();
      writes.close();
      db.close();
      connections.close();
    },
  };
}

/** So many start at the same time. */
const startedAtOnce = 50;

const running: Awaited<ReturnType<typeof startSubscriber>>[] = [];
for (let first = 0; first < count; first += startedAtOnce) {
  const numbers = Array.from({ length: Math.min(startedAtOnce, count - first) }, (_, index) => first + index);
  running.push(...(await Promise.all(numbers.map(startSubscriber))));
}
const caughtUp = () => running.reduce((sum, subscriber) => sum + subscriber.caughtUp(), 0);
const before = caughtUp();
await serveLines<SubscribersQuestion>(
  {},
  async (question) => ("sequence" in question ? untilApplied(question.sequence) : { caughtUp: caughtUp() - before }),
  async () => {
    for (const { stop } of running) await stop();
    process.exit();
  },
);
