import type { Event } from "../../../gen/omi/event/v1/event_pb.ts";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/log.ts";
import type { WriteQueue } from "../../store/write-queue.ts";
import type { Cursors } from "./cursors.ts";
import type { Slots } from "./slots.ts";

/** How many messages a subscriber received, as in the contract's ReceiverCounts. */
export type Counts = {
  applied: bigint;
  forged: bigint;
  doubled: bigint;
  early: bigint;
  unknown: bigint;
  caughtUp: bigint;
};

/** What the feeds of all apps and registries of one subscriber share. */
export type SubscriberCore = {
  readonly cursors: Cursors;
  readonly writes: WriteQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counts: Counts;
  /** How old the latest head may be, in milliseconds. */
  readonly maxAgeMs: number;
  /** How many apps may catch up at the same time. */
  readonly catchUps: Slots;
  /** See `SubscriberOptions`. */
  readonly apply: (event: Event) => void;
  readonly applied: (event: Event) => void;
  readonly confirmed: (appId: string, sequence: bigint, atSeconds: number) => void;
  /** True once the part is stopping: its database may be closed. */
  readonly stopped: () => boolean;
};

/** Milliseconds since a moment of the clock; without end if the clock was set back behind it. */
export function since(clock: Clock, moment: number): number {
  const passed = clock.now() - moment;
  return passed < 0 ? Number.POSITIVE_INFINITY : passed;
}
