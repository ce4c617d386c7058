import type { Carrier } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";

/** What a carrier brings: an event or heads, as the registry signed them. Nothing about it has been verified. */
export type CarriedMessage = { readonly event: Statement } | { readonly heads: Statement };

/** Who takes what a carrier brings. */
export interface CarrierListener {
  /**
   * A message came. Resolves once its effect is on disk, the message turned out to be worthless, or it is left to be found
   * missing by the heads; only then may a carrier that waits for acknowledgements acknowledge it. Rejects if the effect could
   * not be stored, never for what a message holds.
   */
  receive(message: CarriedMessage): Promise<void>;
  /** The carrier is connected, for the first time or again: anything may have been missed meanwhile. */
  connected(): void;
}

/**
 * One way in which signed events reach a part. A carrier may lose, double, delay, reorder and be fed with forgeries: the
 * listener verifies and puts in order, and finds by signed heads what is missing. A carrier only makes it fast.
 */
export interface EventCarrier {
  readonly kind: Carrier;
  /** Begins to listen. */
  open(listener: CarrierListener): CarrierConnection;
}

/** A carrier that listens. */
export interface CarrierConnection {
  /** Listens to one more app, from the event behind `afterSequence` on. */
  add(appId: string, afterSequence: bigint): void;
  /** Listens to it no longer. */
  remove(appId: string): void;
  /** Ends. Resolves once no more messages are handed over. */
  close(): Promise<void>;
}
