import type { OutboxSource } from "./outbox-source.ts";
import type { OutboxEvent, PublisherSession } from "./publisher.ts";

/** How many events may be read and not confirmed: what the outbox holds in memory at the most. */
const WINDOW = 256;

/** An event that was read and not yet passed by the cursor. */
interface Pending {
  event: OutboxEvent;
  position: number | undefined;
}

/**
 * Publishes the events behind an index over one session. It never goes on after a failure: what was sent and not
 * confirmed then is unknown, and the next session starts at the cursor again.
 */
export class OutboxDrain {
  /** Rejects with the first failure; otherwise stays pending. */
  readonly failed: Promise<never>;
  readonly #source: Pick<OutboxSource, "eventsAfter">;
  readonly #session: PublisherSession;
  readonly #confirmed: (event: OutboxEvent, position: number) => void;
  readonly #window: Pending[] = [];
  readonly #byApp = new Map<string, Pending[]>();
  #readIndex: number;
  #stopped = false;
  #fail: (error: unknown) => void = () => {};

  /** @param confirmed - called in the order of the commits, for events before which everything is confirmed */
  constructor(
    source: Pick<OutboxSource, "eventsAfter">,
    session: PublisherSession,
    afterIndex: number,
    confirmed: (event: OutboxEvent, position: number) => void,
  ) {
    this.#source = source;
    this.#session = session;
    this.#readIndex = afterIndex;
    this.#confirmed = confirmed;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
  }

  /** Reads on while there is room. */
  fill(): void {
    // Only when half of the window is free: not one query for each confirmation.
    if (this.#stopped || this.#window.length > WINDOW / 2) return;
    for (const event of this.#source.eventsAfter(this.#readIndex, WINDOW - this.#window.length)) {
      this.#readIndex = event.index;
      const pending: Pending = { event, position: undefined };
      this.#window.push(pending);
      const queue = this.#byApp.get(event.appId);
      if (queue !== undefined) queue.push(pending);
      else {
        this.#byApp.set(event.appId, [pending]);
        void this.#send(pending);
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #send(pending: Pending): Promise<void> {
    try {
      const position = await this.#session.publish(pending.event);
      if (!this.#stopped) this.#sent(pending, position);
    } catch (error) {
      this.#stopped = true;
      this.#fail(error);
    }
  }

  #sent(pending: Pending, position: number): void {
    pending.position = position;
    const { appId } = pending.event;
    const queue = this.#byApp.get(appId) ?? [];
    queue.shift();
    const [next] = queue;
    if (next === undefined) this.#byApp.delete(appId);
    else void this.#send(next);
    for (let first = this.#window[0]; first?.position !== undefined; first = this.#window[0]) {
      this.#window.shift();
      this.#confirmed(first.event, first.position);
    }
    this.fill();
  }
}
