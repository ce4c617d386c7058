import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { Directory } from "../directory/directory.ts";
import type { Alarm } from "../events/alarm.ts";
import type { WatchHub } from "../events/watch-hub.ts";
import { Log } from "../log/log.ts";
import type { Database } from "../store/database.ts";
import type { Nonces } from "../store/nonces.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import type { CodeSender } from "./activation.ts";
import type { CodeThrottle } from "./code-throttle.ts";
import type { Effect } from "./effects.ts";
import { type ConfiguredKey, Keyring } from "./keyring.ts";
import type { Projection } from "./projection.ts";
import { defaultPolicy, type RegistryPolicy } from "./rules/policy.ts";
import { RegistryStore } from "./store.ts";

/** What a registry's reads are made of, in its own process and in its readers. */
export interface ReadOptions {
  /** The registry's domain, e.g. `omiappreg.org`. */
  domain: string;
  /** Its own keys; the first one that is valid signs. */
  keys: readonly ConfiguredKey[];
  clock: Clock;
  policy?: Partial<RegistryPolicy>;
  /** Hosts that may have plain http URLs; none unless in development. */
  allowPlainHttp?: (host: string) => boolean;
  /** Bound on the memory that answers kept for further callers take, in bytes; 128 MiB if absent. */
  answerCacheBytes?: number;
}

/** What the registry's reads work with. */
export interface ReadCore {
  /** The registry's domain: the audience of what is sent to it. */
  readonly domain: string;
  readonly policy: RegistryPolicy;
  readonly store: RegistryStore;
  readonly log: Log;
  readonly keyring: Keyring;
  readonly clock: Clock;
  /** Hosts that may have plain http URLs: those of preset directory entries in development. */
  readonly allowPlainHttp: (host: string) => boolean;
}

/** Everything that the registry's RPCs work with. */
export interface RegistryCore extends ReadCore {
  readonly projection: Projection;
  readonly nonces: Nonces;
  readonly queue: WriteQueue;
  readonly hub: WatchHub;
  /** Calls streams back that have to send heads. */
  readonly headsAlarm: Alarm;
  /** Told of every effect, in its transaction. */
  readonly onEffect: (effect: Effect, now: number) => void;
  readonly directory: Directory;
  readonly random: Random;
  readonly logger: Logger;
  /** Where activation codes go; absent if the policy needs none. */
  readonly codeSender: CodeSender | undefined;
  /** Bounds how many of them are sent. */
  readonly codeThrottle: CodeThrottle;
}

/** What reads of a registry's file work with. */
export function createReadCore(db: Database, options: ReadOptions): ReadCore {
  const { domain, keys, clock, policy, allowPlainHttp = () => false } = options;
  return {
    domain,
    policy: { ...defaultPolicy, ...policy },
    store: new RegistryStore(db),
    log: new Log(db),
    keyring: new Keyring(domain, keys),
    clock,
    allowPlainHttp,
  };
}

/** Registry time in Unix seconds: the wall clock, but never before what the log has seen. */
export function registryTime(core: Pick<ReadCore, "clock" | "log">): number {
  return Math.max(Math.floor(core.clock.now() / 1000), core.log.head().time);
}
