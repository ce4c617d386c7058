import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { WatchResponseSchema } from "../../gen/omi/event/v1/event_service_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import type { StoredEvent } from "../log/log.ts";
import { frameOf } from "../rpc/ready/frame.ts";
import { AnswerCache } from "./answer-cache.ts";
import type { RegistryCore } from "./core.ts";
import { appOf, type Effect } from "./effects.ts";
import { signHeads } from "./heads.ts";
import { appSubject, registrySubject } from "./subjects.ts";

/** How many events are read from the log at a time: what a stream holds in memory at the most. */
const batchSize = 100;

/** Bounds on the memory for events and heads that are kept, in bytes. */
const eventBytes = 16 * 1024 * 1024;
const headsBytes = 16 * 1024 * 1024;

/** Events in the order of the log, as Watch sends them. */
export interface EventBatch {
  /** One gRPC frame each. */
  readonly frames: readonly Uint8Array[];
  /** The cursor behind them. */
  readonly end: number;
  /** True if there may be more behind them. */
  readonly full: boolean;
}

/**
 * What Watch sends, each message made once for all streams that are to get it: an event was read from the log and heads were
 * signed by the first one that asks.
 */
export class WatchMessages {
  readonly #core: RegistryCore;
  readonly #batches = new AnswerCache<EventBatch>(eventBytes);
  readonly #heads = new AnswerCache<{ readonly second: number; readonly frame: Uint8Array }>(headsBytes);

  constructor(core: RegistryCore) {
    this.#core = core;
  }

  /** The next events of an app after a sequence. */
  ofApp(appId: string, sequence: number): EventBatch {
    return this.#batch(appId, sequence, () => {
      const events = this.#core.log.eventsOfApp(appId, sequence, batchSize);
      return batchOf(events, events.at(-1)?.sequence ?? sequence);
    });
  }

  /** The next events of all apps after a log index. */
  ofAll(index: number): EventBatch {
    return this.#batch("", index, () => {
      const events = this.#core.log.eventsAfter(index, batchSize);
      return batchOf(events, events.at(-1)?.index ?? index);
    });
  }

  /** Heads of the log and of some apps, in a gRPC frame. */
  heads(appIds: readonly string[]): Uint8Array {
    const second = unixSeconds(this.#core.clock);
    const key = appIds.join();
    const kept = this.#heads.get(this, key);
    if (kept?.second === second) return kept.frame;
    const response = create(WatchResponseSchema, { heads: signHeads(this.#core, appIds) });
    const frame = frameOf(toBinary(WatchResponseSchema, response));
    this.#heads.set(this, key, { second, frame }, frame.length, [registrySubject]);
    return frame;
  }

  /**
   * Forgets what an effect changes. To be called in the write's own transaction, as `Reads.changed`: a stream that is told
   * of the commit finds what is new.
   */
  changed(effect: Effect): void {
    this.#heads.drop(registrySubject);
    this.#batches.drop(registrySubject);
    const appId = appOf(effect);
    if (appId !== undefined) this.#batches.drop(appSubject(appId));
  }

  /** @param appId - empty for all apps */
  #batch(appId: string, cursor: number, read: () => EventBatch): EventBatch {
    const key = `${appId} ${cursor}`;
    let batch = this.#batches.get(this, key);
    if (batch === undefined) {
      batch = read();
      const bytes = batch.frames.reduce((sum, frame) => sum + frame.length + FRAME_OBJECT_BYTES, 0);
      // A full batch stays as it is for ever.
      const subjects = batch.full ? [] : [appId === "" ? registrySubject : appSubject(appId)];
      this.#batches.set(this, key, batch, bytes, subjects);
    }
    return batch;
  }
}

/** About what a byte array costs beside its bytes. */
const FRAME_OBJECT_BYTES = 200;

function batchOf(events: readonly StoredEvent[], end: number): EventBatch {
  return { frames: events.map(({ statement }) => eventFrame(statement)), end, full: events.length === batchSize };
}

/** A WatchResponse with an event that is encoded already, in a gRPC frame. */
function eventFrame(statement: Uint8Array): Uint8Array {
  const { number } = WatchResponseSchema.field.event;
  return frameOf(new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(statement).finish());
}
