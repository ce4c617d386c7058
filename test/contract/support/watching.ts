import type { MessageInitShape } from "@bufbuild/protobuf";
import { expect, onTestFinished } from "vitest";
import { type Event, EventSchema, type Heads, HeadsSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import type { WatchRequestSchema } from "../../../gen/omi/event/v1/event_service_pb.ts";
import { openAnswer, verifySignature } from "../../../src/statement/statement.ts";
import type { RunningRegistry } from "../../support/registry.ts";

/** A listener that takes one message at a time. */
export class Watching {
  readonly #messages: AsyncIterator<{ event?: Event; heads?: Heads }>;
  readonly #controller = new AbortController();

  /** Starts to listen; it stops with the test, or before. */
  constructor(registry: RunningRegistry, request: MessageInitShape<typeof WatchRequestSchema> = {}) {
    this.#messages = verified(registry, request, this.#controller.signal)[Symbol.asyncIterator]();
    onTestFinished(() => this.stop());
  }

  /** The next message, which must be heads. */
  async heads(): Promise<Heads> {
    const { heads } = await this.#next();
    return heads ?? expect.fail("an event where heads should be");
  }

  /** The next message, which must be an event. */
  async event(): Promise<Event> {
    const { event } = await this.#next();
    return event ?? expect.fail("heads where an event should be");
  }

  /** The sequences of the next events. */
  async sequences(count: number): Promise<number[]> {
    const sequences: number[] = [];
    while (sequences.length < count) sequences.push(Number((await this.event()).sequence));
    return sequences;
  }

  stop(): void {
    this.#controller.abort();
  }

  async #next() {
    const { value, done } = await this.#messages.next();
    return done === true ? expect.fail("the stream has ended") : value;
  }
}

/** Each message is either an event or heads, signed by the registry. */
async function* verified(
  registry: RunningRegistry,
  request: MessageInitShape<typeof WatchRequestSchema>,
  signal: AbortSignal,
) {
  for await (const { event, heads } of registry.events.watch(request, { signal })) {
    expect([event, heads].filter((part) => part !== undefined)).toHaveLength(1);
    if (event !== undefined) {
      const opened = openAnswer(EventSchema, event);
      await verifySignature(opened, registry.key.publicKey);
      yield { event: opened.message };
    } else {
      const opened = openAnswer(HeadsSchema, heads);
      await verifySignature(opened, registry.key.publicKey);
      yield { heads: opened.message };
    }
  }
}
