import { Reason, Refusal } from "../../core/refusal.ts";
import type { Limits } from "./limits.ts";
import { sourceOf } from "./source.ts";

/** A stream that can be ended from outside. */
export type Abortable = { abort(reason: Refusal): void };

/**
 * The streams of a server that are open: so that its stop can end them, and so that neither all callers together nor one source
 * (see `sourceOf`) can have more than it bears.
 */
export class OpenStreams {
  readonly #limits: Pick<Limits, "maxStreams" | "maxStreamsPerPeer">;
  readonly #streams = new Set<Abortable>();
  readonly #bySource = new Map<string, number>();

  constructor(limits: Pick<Limits, "maxStreams" | "maxStreamsPerPeer">) {
    this.#limits = limits;
  }

  /** Why no further stream of this peer may be opened; undefined if it may. */
  refusal(peer: string): Refusal | undefined {
    if (this.#streams.size >= this.#limits.maxStreams) {
      const nextStep = "try again later, or ask for what is new from time to time";
      return new Refusal(Reason.OVERLOADED, "too many open streams", { nextStep });
    }
    if ((this.#bySource.get(sourceOf(peer)) ?? 0) >= this.#limits.maxStreamsPerPeer) {
      const nextStep = "end some, watch several apps with one stream, or ask for what is new from time to time";
      return new Refusal(Reason.OVERLOADED, "too many open streams from this address", { nextStep });
    }
    return undefined;
  }

  add(stream: Abortable, peer: string): void {
    if (this.#streams.has(stream)) return;
    this.#streams.add(stream);
    const source = sourceOf(peer);
    this.#bySource.set(source, (this.#bySource.get(source) ?? 0) + 1);
  }

  /** Does nothing if it is not there any more. */
  delete(stream: Abortable, peer: string): void {
    if (!this.#streams.delete(stream)) return;
    const source = sourceOf(peer);
    const left = (this.#bySource.get(source) ?? 0) - 1;
    if (left > 0) this.#bySource.set(source, left);
    else this.#bySource.delete(source);
  }

  /** Ends all. */
  abort(reason: Refusal): void {
    for (const stream of this.#streams) stream.abort(reason);
  }
}
