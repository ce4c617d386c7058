import { type Event, EventType, EventTypeSchema } from "../../../gen/omi/event/v1/event_pb.ts";
import { unixSeconds } from "../../core/clock.ts";
import { isRefusal, Reason } from "../../core/refusal.ts";
import type { VerifiedEvent } from "../../directory/registry-events.ts";
import { type SubscriberCore, since } from "./core.ts";
import { APPLY_JOB } from "./failpoints.ts";
import type { RegistryFeed } from "./registry-feed.ts";

/** A signed head of one app. */
export type AppHead = {
  readonly sequence: bigint;
  /** When it was true, in milliseconds of our clock; never later than it really was. */
  readonly asOf: number;
  /** When it was signed, in Unix seconds of the registry. */
  readonly signedAt: number;
};

// Events of one app that may wait for their turn. What comes beyond is caught up with later: memory stays bounded.
const MAX_WAITING = 64;

const PAGE_SIZE = 100;

/**
 * The events of one app, put in order. What happens to an app happens in turn, and a job on disk applies an event only as
 * the successor of the last one, so that no order of arrival and no crash changes the outcome.
 */
export class AppFeed {
  readonly appId: string;
  readonly registry: RegistryFeed;
  readonly #core: SubscriberCore;
  readonly #addedAt: number;
  #cursor: bigint;
  #head: AppHead | undefined;
  /** The greatest sequence that the registry has signed. */
  #target = 0n;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #turns: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #catchingUp: Promise<void> | undefined;
  /** When its head was last asked for, in milliseconds. */
  askedAt = Number.NEGATIVE_INFINITY;
  /** True if its head is wanted soon, however new the last one is. */
  isWanted = true;
  /** True if the last head was brought by the carrier. */
  isCarried = false;
  /** Unix seconds; 0: nothing was applied since the start. */
  lastAppliedAt = 0;
  lastEvent: EventType = EventType.UNSPECIFIED;

  constructor(appId: string, registry: RegistryFeed, core: SubscriberCore) {
    this.appId = appId;
    this.registry = registry;
    this.#core = core;
    this.#addedAt = core.clock.now();
    this.#cursor = core.cursors.sequence(appId);
  }

  /** The sequence of the last event whose effect is in place. */
  get cursor(): bigint {
    return this.#cursor;
  }

  /** The latest head. */
  get head(): AppHead | undefined {
    return this.#head;
  }

  /** For how long nothing confirmed that all events up to then had been applied, in milliseconds. */
  get age(): number {
    const confirmed = this.#confirmedAt > Number.NEGATIVE_INFINITY;
    return confirmed ? since(this.#core.clock, this.#confirmedAt) : Number.POSITIVE_INFINITY;
  }

  /** The same for people: counted from the beginning of the subscription if nothing was ever confirmed. */
  get ageSeconds(): number {
    const from = Math.max(this.#confirmedAt, this.#addedAt);
    return Math.max(0, Math.floor((this.#core.clock.now() - from) / 1000));
  }

  /** True if what was applied is all there is, by a head that is new enough. */
  get isCurrent(): boolean {
    return this.age < this.#core.maxAgeMs && this.#cursor >= this.#target;
  }

  /** Takes a verified event. Resolves when its effect is on disk; rejects if it could not be put there. */
  take(event: VerifiedEvent): Promise<void> {
    if (this.#waiting >= MAX_WAITING) return this.catchUpTo(event.value.sequence);
    return this.#inTurn(async () => {
      const { sequence } = event.value;
      const { counts } = this.#core;
      if (sequence <= this.#cursor) counts.doubled++;
      else if (sequence === this.#cursor + 1n) await this.#apply([event]);
      else {
        counts.early++;
        this.expect(sequence);
        await this.#catchUp();
      }
    });
  }

  /** Takes what a head of a trusted registry says. Resolves when all that it says there is has been applied, or can't be. */
  sawHead(head: AppHead, isCarried: boolean): Promise<void> {
    const last = this.#head?.asOf ?? Number.NEGATIVE_INFINITY;
    if (!isCarried && last > this.#core.clock.now()) {
      // The clock was set back. An answer to our own question is new all the same; what a carrier brings may be an old one.
      this.#confirmedAt = Number.NEGATIVE_INFINITY;
    } else if (head.asOf < last) {
      // An older one than the last says nothing new, whatever way it took.
      return Promise.resolve();
    }
    this.#head = head;
    this.isCarried = isCarried;
    if (head.sequence > this.#cursor) return this.catchUpTo(head.sequence);
    this.#confirm();
    return Promise.resolve();
  }

  /** Asks the registry for what is missing up to a sequence; many who want that share it. */
  catchUpTo(sequence: bigint): Promise<void> {
    this.expect(sequence);
    this.#catchingUp ??= this.#inTurn(() => {
      this.#catchingUp = undefined;
      return this.#catchUp();
    });
    return this.#catchingUp;
  }

  /** Resolves once all that came before has had its turn. */
  async settled(): Promise<void> {
    await this.#turns;
  }

  /** The registry has signed an event of this sequence: nothing is believed of the app until it has been applied. */
  expect(sequence: bigint): void {
    if (sequence > this.#target) this.#target = sequence;
  }

  /** What the registry signed meanwhile was of another history than its own again. */
  expectNothing(): void {
    this.#target = this.#cursor;
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#waiting++;
    const turn = this.#turns.then(async () => {
      try {
        if (!this.#core.stopped()) await work();
        this.#confirm();
      } finally {
        this.#waiting--;
      }
    });
    this.#turns = turn.catch(() => {});
    return turn;
  }

  async #catchUp(): Promise<void> {
    if (this.#cursor >= this.#target) return;
    this.#core.counts.caughtUp++;
    await this.#core.catchUps.run(async () => {
      while (this.#cursor < this.#target && this.registry.isSettled) {
        const page = await this.#nextPage();
        if (page.length === 0 || this.#core.stopped()) return;
        await this.#apply(page);
      }
    });
  }

  /** The next events; none if the registry can't be asked now. The next head brings us back here. */
  async #nextPage(): Promise<readonly VerifiedEvent[]> {
    const { logger } = this.#core;
    try {
      return await this.registry.client.listEvents(this.appId, this.#cursor, PAGE_SIZE);
    } catch (error) {
      if (isRefusal(error, Reason.CURSOR_INVALID)) this.registry.rolledBack("cursor", this.appId);
      else logger.warn({ appId: this.appId, err: error }, "events could not be caught up with");
      return [];
    }
  }

  async #apply(events: readonly VerifiedEvent[]): Promise<void> {
    const { writes, cursors, counts, clock, logger, applied } = this.#core;
    const outcomes = await Promise.allSettled(
      // What a loss of power takes back is read from the registry again, before anything is believed.
      events.map(({ value }) => writes.run(APPLY_JOB, () => this.#applyOnce(value), { readAgain: true })),
    );
    if (this.#core.stopped()) return;
    // A commit may have failed, or succeeded without our being told: what counts is on disk.
    this.#cursor = cursors.sequence(this.appId);
    for (const [index, outcome] of outcomes.entries()) {
      const event = events[index]?.value;
      if (event === undefined || outcome.status === "rejected" || !outcome.value) continue;
      counts.applied++;
      if (!isKnown(event)) counts.unknown++;
      this.lastAppliedAt = unixSeconds(clock);
      this.lastEvent = event.event;
      try {
        applied(event);
      } catch (error) {
        logger.error({ appId: this.appId, err: error }, "what follows an event failed");
      }
    }
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** The job: effect and cursor together, or neither. Returns false if the event isn't the next one. */
  #applyOnce(event: Event): boolean {
    const { cursors, apply } = this.#core;
    if (event.sequence !== cursors.sequence(this.appId) + 1n) return false;
    cursors.advance(this.appId, event.sequence);
    cursors.sawIndex(this.registry.client.domain, event.logIndex);
    if (isKnown(event)) apply(event);
    return true;
  }

  /** The latest head holds for what was applied, as soon as that is no less. */
  #confirm(): void {
    const head = this.#head;
    if (head === undefined || this.#cursor < head.sequence || head.asOf <= this.#confirmedAt) return;
    this.#confirmedAt = head.asOf;
    this.#core.confirmed(this.appId, head.sequence, Math.floor(head.asOf / 1000));
  }
}

function isKnown({ event }: Event): boolean {
  return event !== EventType.UNSPECIFIED && EventTypeSchema.value[event] !== undefined;
}
