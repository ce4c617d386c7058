import { fromBinary } from "@bufbuild/protobuf";
import { Carrier } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import { type Statement, StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import type { CarrierConnection, CarrierListener, EventCarrier } from "../../src/events/carrier.ts";
import type { OutboxEvent, Publisher, PublisherSession } from "../../src/events/publisher.ts";

/**
 * A publisher and carriers in one process: what an Auth Provider publishes reaches the agents as the test has it. All that was
 * published is kept, so that the test can bring it later, again or changed.
 */
export class SessionBus implements Publisher {
  readonly name = "bus";
  readonly retentionSeconds = 960;
  /** What was published, in order. */
  readonly published: Statement[] = [];
  /** False while what is published gets lost on the way. */
  delivers = true;
  readonly #listeners = new Set<CarrierListener>();

  async connect(): Promise<PublisherSession> {
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    return {
      ended,
      publish: async ({ statement }: OutboxEvent) => {
        const event = fromBinary(StatementSchema, statement);
        this.published.push(event);
        if (this.delivers) void this.bring(event);
        return this.published.length;
      },
      holds: async (position) => this.published[position - 1] !== undefined,
      close: async () => end(),
    };
  }

  readonly carrierFor = (): EventCarrier => ({
    kind: Carrier.UNSPECIFIED,
    open: (listener): CarrierConnection => {
      this.#listeners.add(listener);
      return {
        add() {},
        remove() {},
        close: async () => void this.#listeners.delete(listener),
      };
    },
  });

  /** Brings events to all who listen, one after the other. */
  async bring(...events: readonly Statement[]): Promise<void> {
    for (const event of events) {
      for (const listener of this.#listeners) await listener.receive({ event }).catch(() => {});
    }
  }

  /** Says that the carrier is connected again. */
  reconnect(): void {
    for (const listener of this.#listeners) listener.connected();
  }
}
