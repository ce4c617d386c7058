import type { OutboxEvent } from "./publisher.ts";

/** What an outbox sends: events that were committed, in the order of their commits. */
export interface OutboxSource {
  /** Up to `limit` events behind an index. What says nothing any more may be left out. */
  eventsAfter(index: number, limit: number): OutboxEvent[];
  /** The index of the last entry that was made before a time, in Unix seconds; 0 if there is none. */
  lastBefore(time: number): number;
}
