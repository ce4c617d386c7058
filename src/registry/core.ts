import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { Directory } from "../directory/directory.ts";
import type { Alarm } from "../events/alarm.ts";
import type { WatchHub } from "../events/watch-hub.ts";
import type { Log } from "../log/log.ts";
import type { Nonces } from "../store/nonces.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import type { CodeSender } from "./activation.ts";
import type { CodeThrottle } from "./code-throttle.ts";
import type { Effect } from "./effects.ts";
import type { Keyring } from "./keyring.ts";
import type { Projection } from "./projection.ts";
import type { RegistryPolicy } from "./rules/policy.ts";
import type { RegistryStore } from "./store.ts";

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

/** Registry time in Unix seconds: the wall clock, but never before what the log has seen. */
export function registryTime(core: Pick<ReadCore, "clock" | "log">): number {
  return Math.max(Math.floor(core.clock.now() / 1000), core.log.head().time);
}
