import { Carrier } from "../../gen/omi/event/v1/subscriber_service_pb.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import type { Registries } from "../directory/registries.ts";
import type { RegistryClient } from "../directory/registry-client.ts";
import type { CarrierConnection, CarrierListener, EventCarrier } from "./carrier.ts";

/** What {@link createWatchCarrier} needs. */
export type WatchCarrierOptions = {
  readonly registries: Registries;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
};

// As many as one Watch takes.
const MAX_APPS_OF_A_STREAM = 1000;

// How long a stream waits for more apps to come or go before it is opened anew, in milliseconds.
const CHANGE_DELAY_MS = 250;

// The delays before a stream is opened again, in milliseconds: the first, doubled each time up to the last.
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

/**
 * The carrier that needs nothing but the registries themselves: `EventService.Watch`, one stream for each registry (one for
 * each thousand apps of it). The next message is taken from a stream once the listener is done with the one before, so a
 * slow listener costs neither side memory.
 */
export function createWatchCarrier(options: WatchCarrierOptions): EventCarrier {
  return { kind: Carrier.WATCH, open: (listener) => new WatchConnection(options, listener) };
}

class WatchConnection implements CarrierConnection {
  readonly #options: WatchCarrierOptions;
  readonly #listener: CarrierListener;
  readonly #streams = new Set<WatchStream>();
  readonly #streamOf = new Map<string, WatchStream>();

  constructor(options: WatchCarrierOptions, listener: CarrierListener) {
    this.#options = options;
    this.#listener = listener;
  }

  add(appId: string, afterSequence: bigint): void {
    if (this.#streamOf.has(appId)) return;
    const client = this.#options.registries.forApp(appId);
    let stream = [...this.#streams].find((each) => each.client === client && each.size < MAX_APPS_OF_A_STREAM);
    if (stream === undefined) {
      stream = new WatchStream(client, this.#options, this.#listener);
      this.#streams.add(stream);
    }
    this.#streamOf.set(appId, stream);
    stream.add(appId, afterSequence);
  }

  remove(appId: string): void {
    const stream = this.#streamOf.get(appId);
    if (stream === undefined) return;
    this.#streamOf.delete(appId);
    stream.remove(appId);
    if (stream.size > 0) return;
    stream.close();
    this.#streams.delete(stream);
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.close();
  }
}

/** One stream, opened again whenever it ends or its apps change. */
class WatchStream {
  readonly client: RegistryClient;
  readonly #options: WatchCarrierOptions;
  readonly #listener: CarrierListener;
  /** The apps, each with the sequence of the last event that was handed over. */
  readonly #cursors = new Map<string, bigint>();
  #open: AbortController | undefined;
  #cancelTimer: (() => void) | undefined;
  #failures = 0;
  #isClosed = false;

  constructor(client: RegistryClient, options: WatchCarrierOptions, listener: CarrierListener) {
    this.client = client;
    this.#options = options;
    this.#listener = listener;
    // Those that are added together share the first stream.
    queueMicrotask(() => void this.#reopen());
  }

  get size(): number {
    return this.#cursors.size;
  }

  add(appId: string, afterSequence: bigint): void {
    this.#cursors.set(appId, afterSequence);
    this.#reopenSoon();
  }

  remove(appId: string): void {
    this.#cursors.delete(appId);
    this.#reopenSoon();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#open?.abort();
  }

  #reopenSoon(): void {
    // One that isn't open yet takes the apps as they are when it is, and one that failed is in no hurry.
    if (this.#open !== undefined) this.#reopenIn(CHANGE_DELAY_MS);
  }

  #reopenIn(milliseconds: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#options.clock.setTimer(milliseconds, () => void this.#reopen());
  }

  async #reopen(): Promise<void> {
    if (this.#isClosed) return;
    this.#cancelTimer?.();
    this.#open?.abort();
    const open = new AbortController();
    this.#open = open;
    try {
      await this.#listen(open.signal);
    } catch (error) {
      if (!open.signal.aborted) this.#options.logger.warn({ registry: this.client.domain, err: error }, "Watch ended");
    }
    // Aborted: another stream has taken its place, or none shall.
    if (open.signal.aborted) return;
    this.#open = undefined;
    this.#reopenIn(this.#retryDelay());
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const apps = await this.#watchable();
    if (signal.aborted || apps.length === 0) return;
    if (apps.length < this.#cursors.size) this.#reopenIn(LAST_RETRY_MS);
    const onOpen = () => this.#listener.connected();
    for await (const item of this.client.watch({ apps, signal, onOpen })) {
      if (signal.aborted) return;
      this.#failures = 0;
      if (item.kind === "heads") await this.#handOver({ heads: item.statement });
      else {
        await this.#handOver({ event: item.statement });
        const { appId, sequence } = item.value;
        if (sequence > (this.#cursors.get(appId) ?? sequence)) this.#cursors.set(appId, sequence);
      }
    }
  }

  /**
   * The apps that the registry will let us watch. One that it doesn't know, or whose cursor is ahead of it, would make it
   * refuse all of them; what that means is for the listener to find out.
   */
  async #watchable(): Promise<{ appId: string; sequence: bigint }[]> {
    const heads = await this.client.getHeads([...this.#cursors.keys()]);
    return heads.value.apps.flatMap(({ appId, sequence: head }) => {
      const sequence = this.#cursors.get(appId);
      return sequence === undefined || sequence > head ? [] : [{ appId, sequence }];
    });
  }

  /** What can't be put on disk now is brought by the heads later; the stream goes on. */
  async #handOver(message: Parameters<CarrierListener["receive"]>[0]): Promise<void> {
    try {
      await this.#listener.receive(message);
    } catch (error) {
      this.#options.logger.error({ registry: this.client.domain, err: error }, "an event could not be applied");
    }
  }

  /** Half to one and a half of the time, so that those who lost the same registry don't come back in step. */
  #retryDelay(): number {
    const delay = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LAST_RETRY_MS);
    this.#failures++;
    const [byte = 0] = this.#options.random(1);
    return delay * (0.5 + byte / 256);
  }
}
