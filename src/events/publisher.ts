/** An event that an outbox sends. */
export interface OutboxEvent {
  /** Its place in the order of the commits: a later one has a greater index. */
  readonly index: number;
  /** The app within which events keep their order. */
  readonly appId: string;
  /** The encoded signed Statement. */
  readonly statement: Uint8Array;
}

/**
 * Where an outbox sends its events. Publishing is at least once: what a publisher confirms is kept, what it does
 * not confirm is sent again.
 */
export interface Publisher {
  /** Names the durable cursor. A publisher of another name starts anew. */
  readonly name: string;
  /** How long the carrier keeps an event, in seconds: nothing older is sent again after the carrier lost what it had. */
  readonly retentionSeconds: number;
  /**
   * Connects, and makes sure that the carrier is set up as it must be.
   *
   * @param signal - ends the attempt
   * @throws SetupError if an operator must act; anything else may pass
   */
  connect(signal: AbortSignal): Promise<PublisherSession>;
}

/** One connection of a {@link Publisher}. */
export interface PublisherSession {
  /** Resolves when the connection is lost or was closed; nothing that is not confirmed by then ever will be. */
  readonly ended: Promise<void>;
  /**
   * Publishes one event. Calls that were begun in an order arrive in that order.
   *
   * @returns the position at which the carrier keeps the event: later ones have greater positions
   * @throws if the carrier did not confirm it; it may have it all the same
   */
  publish(event: OutboxEvent): Promise<number>;
  /** False if the carrier has lost the event that it confirmed at a position. An event beyond its retention is not lost. */
  holds(position: number, event: OutboxEvent): Promise<boolean>;
  close(): Promise<void>;
}
