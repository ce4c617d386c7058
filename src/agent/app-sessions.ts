import {
  type SessionHeads,
  type SessionRevoked,
  SessionRevokedSchema,
} from "../../gen/omi/auth/v1/session_service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { isRefusal, Reason } from "../core/refusal.ts";
import { openAnswer } from "../statement/statement.ts";
import type { TenancyState } from "../tenancy/state.ts";
import type { SessionCarriage, SessionListener } from "./session-carriage.ts";
import type { EventSource, SessionRevocations } from "./session-revocations.ts";
import { authProviderOf, type SessionStreamOptions, verifyCarried, watchSessions } from "./session-stream.ts";

/** What {@link AppSessions} needs. */
export type AppSessionsOptions = SessionStreamOptions & {
  readonly tenancy: Pick<TenancyState, "tenants" | "writes" | "logger">;
  readonly revocations: SessionRevocations;
  readonly random: Random;
  /** How old the last signed head may become, in seconds, where that matters: heads are asked for more often then. */
  readonly maxAgeSeconds?: number;
};

/** The jobs in which an event, or that there are no more, is put on disk together with the cursor. */
const REVOKE_JOB = "session.revoke";
const ADVANCE_JOB = "session.advance";

// The delays before a stream is opened again, in milliseconds: the first, doubled each time up to the last.
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

// With a carrier, heads are asked for about this often (5 s at the most), and whatever it brings not much more often than that.
const HEADS_INTERVAL_MS = 4000;
const SHORTEST_INTERVAL_MS = 1000;

// Carried events of one app that may wait for their turn. What comes beyond is found missing later: memory stays bounded.
const MAX_WAITING = 64;

/**
 * Follows the session events of one app, for as long as it has a tenant here that is in use: by the stream of its Auth
 * Provider, or by a carrier, and then by the stream as well whenever heads are due.
 */
export class AppSessions implements SessionListener {
  readonly #appId: string;
  readonly #options: AppSessionsOptions;
  readonly #carriage: SessionCarriage | undefined;
  readonly #onEnd: () => void;
  readonly #stopping = new AbortController();
  #running = Promise.resolve();
  /** Ends the wait for the next attempt. */
  #wake: (() => void) | undefined;
  /** Ends the wait for the next heads. */
  #wakeForHeads: (() => void) | undefined;
  /** True if heads are wanted soon, however new the last ones are. */
  #isWanted = false;
  #failures = 0;
  /** The cursor at which an event was missing. If it still is in a new stream, it had expired. */
  #gapAt: bigint | undefined;
  /** Whose events the carrier brings. */
  #carried: EventSource | undefined;
  /** The carried events, one after the other. */
  #turns: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** When the last head was true, in Unix seconds. */
  seenAt = 0;

  /** @param onEnd called when the app has no tenant any more that is in use, or after {@link stop} */
  constructor(appId: string, options: AppSessionsOptions, carriage: SessionCarriage | undefined, onEnd: () => void) {
    this.#appId = appId;
    this.#options = options;
    this.#carriage = carriage;
    this.#onEnd = onEnd;
  }

  /** Begins; once. */
  start(): void {
    this.#running = this.#run();
  }

  /** Makes the next attempt now, if one is waited for. */
  hurry(): void {
    this.#wake?.();
  }

  /** Resolves once nothing is put in place any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#turns;
  }

  connected(): void {
    this.#wantHeads();
  }

  receive(event: Statement): Promise<void> {
    if (this.#waiting >= MAX_WAITING) {
      this.#wantHeads();
      return Promise.resolve();
    }
    this.#waiting++;
    const turn = this.#turns.then(async () => {
      try {
        if (!this.#stopping.signal.aborted) await this.#take(event);
      } finally {
        this.#waiting--;
      }
    });
    // What can't be put on disk now is read from the Auth Provider later.
    this.#turns = turn.catch(() => this.#wantHeads());
    return turn;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const tenant = this.#tenant();
      if (tenant === undefined) break;
      try {
        const isComplete = await this.#listen(tenant, signal);
        this.#failures = 0;
        if (isComplete) await this.#untilHeadsAreDue();
      } catch (error) {
        if (signal.aborted) break;
        // The token that the stream began with is over, which is no trouble: heads came, and now a new one is asked for.
        if (this.#failures === 0 && isRefusal(error, Reason.TOKEN_EXPIRED)) this.#failures++;
        else await this.#failed(error);
      }
    }
    this.#carry(undefined);
    this.#onEnd();
  }

  /** Any tenant of the app can listen: its events are the same for all. */
  #tenant() {
    return this.#options.tenancy.tenants.ofApp(this.#appId).find(({ state }) => state === "ACTIVE");
  }

  /**
   * Listens to the stream.
   *
   * @returns true once all that a head tells of is in place, and a carrier brings what comes; false if there is reason to
   *   open the stream anew at once
   */
  async #listen(tenant: { appId: string; serviceId: string }, signal: AbortSignal): Promise<boolean> {
    const { views, revocations } = this.#options;
    const source = await authProviderOf(this.#appId, views);
    this.#carry(source);
    const afterSequence = revocations.cursor(source);
    let first: SessionHeads | undefined;
    let isFirst = true;
    for await (const message of watchSessions(tenant, { source, afterSequence, signal }, this.#options)) {
      this.#failures = 0;
      let heads: SessionHeads | undefined;
      if (message.kind === "event") {
        if (this.#isGap(source, message.event.sequence - 1n)) return false;
        await this.#apply(message.event);
        heads = first;
      } else {
        heads = message.heads;
        if (isFirst) first = heads;
        else if (this.#isGap(source, heads.sequence)) return false;
        else first = undefined;
      }
      // The first head comes before the events behind the cursor, every other one after all that it tells of.
      const isBehind = heads !== undefined && heads === first && heads.sequence > revocations.cursor(source);
      isFirst = false;
      if (heads === undefined || isBehind) continue;
      first = undefined;
      await this.#confirm(source, heads);
      if (this.#carried !== undefined) return true;
      if (this.#tenant() === undefined || (await authProviderOf(this.#appId, views)).origin !== source.origin) {
        return false;
      }
    }
    return false;
  }

  /** Has the carrier bring the events of an Auth Provider, if there is a carrier, and no others. */
  #carry(source: EventSource | undefined): void {
    if (this.#carriage === undefined || this.#carried?.origin === source?.origin) return;
    if (this.#carried !== undefined) this.#carriage.remove(this.#carried);
    this.#carried = source;
    if (source !== undefined) this.#carriage.add(source, this);
  }

  /** Puts a carried event in place, if it verifies and is the next one; otherwise heads tell what it was. */
  async #take(statement: Statement): Promise<void> {
    const { revocations, tenancy } = this.#options;
    const source = this.#carried;
    if (source === undefined) return;
    try {
      const { sequence } = openAnswer(SessionRevokedSchema, statement).message;
      if (sequence <= revocations.cursor(source)) return;
      const event = await verifyCarried(statement, source, this.#options);
      if (this.#stopping.signal.aborted || (await this.#applyNext(event))) return;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      tenancy.logger.warn({ appId: this.#appId, err: error }, "a carried session event does not verify");
    }
    this.#wantHeads();
  }

  /**
   * True if events between the cursor and a sequence are missing, for the first time: they may have been lost. Those that the
   * provider leaves out in a new stream as well have expired.
   */
  #isGap(source: EventSource, upTo: bigint): boolean {
    const cursor = this.#options.revocations.cursor(source);
    if (upTo <= cursor || this.#gapAt === cursor) return false;
    this.#gapAt = cursor;
    return true;
  }

  async #apply(event: SessionRevoked): Promise<void> {
    const { tenancy, revocations, clock } = this.#options;
    await tenancy.writes.run(REVOKE_JOB, () => {
      if (event.sequence > revocations.cursor(event)) revocations.apply(event, unixSeconds(clock));
    });
  }

  /** Returns false if an event before it is missing. */
  #applyNext(event: SessionRevoked): Promise<boolean> {
    const { tenancy, revocations, clock } = this.#options;
    return tenancy.writes.run(REVOKE_JOB, () => {
      const cursor = revocations.cursor(event);
      if (event.sequence === cursor + 1n) revocations.apply(event, unixSeconds(clock));
      return event.sequence <= cursor + 1n;
    });
  }

  async #confirm(source: EventSource, { header, sequence }: SessionHeads): Promise<void> {
    const { tenancy, revocations, clock } = this.#options;
    if (sequence > revocations.cursor(source)) {
      await tenancy.writes.run(ADVANCE_JOB, () => {
        if (sequence > revocations.cursor(source)) revocations.advance(source, sequence);
      });
    }
    this.seenAt = Math.min(Number(header?.issuedAt ?? 0n), unixSeconds(clock));
  }

  async #failed(error: unknown): Promise<void> {
    this.#options.tenancy.logger.warn({ appId: this.#appId, err: error }, "the app's session events can't be followed");
    if (isRefusal(error, Reason.CURSOR_INVALID)) await this.#beginAnew();
    const delay = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LAST_RETRY_MS) * this.#spread();
    this.#failures++;
    await this.#wait(delay, (wake) => {
      this.#wake = wake;
    });
  }

  /** It counts from the beginning again. What it told before stays in place until it says nothing more. Never rejects. */
  async #beginAnew(): Promise<void> {
    const { tenancy, revocations, views } = this.#options;
    const appId = this.#appId;
    try {
      const source = await authProviderOf(appId, views);
      tenancy.logger.error({ appId, origin: source.origin }, "the Auth Provider has lost session events");
      await tenancy.writes.run(ADVANCE_JOB, () => revocations.advance(source, 0n));
    } catch (error) {
      // The next attempt fails like the one before, and leads back here.
      tenancy.logger.warn({ appId, err: error }, "an app's session events can't be read from the beginning yet");
    }
  }

  #wantHeads(): void {
    this.#isWanted = true;
    this.#wakeForHeads?.();
  }

  /** With a carrier: waits until heads are to be asked for. */
  async #untilHeadsAreDue(): Promise<void> {
    const { maxAgeSeconds } = this.#options;
    const interval = Math.min(HEADS_INTERVAL_MS, (maxAgeSeconds ?? Number.POSITIVE_INFINITY) * 400);
    const shortest = Math.min(SHORTEST_INTERVAL_MS, interval / 2);
    await this.#wait(shortest * this.#spread());
    if (!this.#isWanted) {
      await this.#wait((interval - shortest) * this.#spread(), (wake) => {
        this.#wakeForHeads = wake;
      });
    }
    this.#isWanted = false;
  }

  /** Three to five quarters: parties that failed together don't try again in step. */
  #spread(): number {
    const [byte = 0] = this.#options.random(1);
    return 0.75 + byte / 512;
  }

  /**
   * Waits, until the app is no longer followed at the most.
   *
   * @param onBegin is given what ends the wait, and undefined once it is over
   */
  #wait(milliseconds: number, onBegin: (wake: (() => void) | undefined) => void = () => {}): Promise<void> {
    const { signal } = this.#stopping;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        signal.removeEventListener("abort", done);
        onBegin(undefined);
        resolve();
      };
      const cancel = this.#options.clock.setTimer(milliseconds, done);
      signal.addEventListener("abort", done, { once: true });
      onBegin(done);
    });
  }
}
