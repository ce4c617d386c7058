import type { SessionHeads, SessionRevoked } from "../../gen/omi/auth/v1/session_service_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import type { TenancyState } from "../tenancy/state.ts";
import type { AccessTokenClaims } from "../token/claims.ts";
import type { EventSource, SessionRevocations } from "./session-revocations.ts";
import { authProviderOf, type SessionStreamOptions, watchSessions } from "./session-stream.ts";

/** How an agent learns that sessions ended. */
export type SessionsOptions = {
  /**
   * The greatest age of the Auth Provider's last signed head, in seconds, while users are let in. If left out, users are let
   * in although the Auth Provider can't be asked: their tokens live for 15 minutes at most.
   */
  readonly maxAgeSeconds?: number;
};

/** What {@link SessionFollower} needs. */
export type SessionFollowerOptions = SessionStreamOptions &
  SessionsOptions & {
    readonly tenancy: Pick<TenancyState, "tenants" | "writes" | "logger">;
    readonly revocations: SessionRevocations;
    readonly random: Random;
  };

// The delays before a stream is opened again, in milliseconds: the first, doubled each time up to the last.
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 30_000;

/** Follows the session events of the apps that have tenants here, one stream for each app. */
export class SessionFollower {
  readonly #options: SessionFollowerOptions;
  readonly #apps = new Map<string, FollowedApp>();
  #isStopped = false;

  constructor(options: SessionFollowerOptions) {
    this.#options = options;
  }

  /** Begins to follow an app; if it is followed and waits for its next attempt, that is made now. */
  follow(appId: string): void {
    if (this.#isStopped) return;
    const known = this.#apps.get(appId);
    if (known !== undefined) {
      known.hurry();
      return;
    }
    const app = new FollowedApp(appId, this.#options, () => this.#apps.delete(appId));
    this.#apps.set(appId, app);
    app.start();
  }

  /**
   * Checks that the session of a user's token has not ended.
   *
   * @throws Refusal TOKEN_REVOKED; VIEW_STALE {age_seconds} if the Auth Provider has not been heard of for too long, and that
   *   matters here
   */
  requireLive(claims: AccessTokenClaims): void {
    const { revocations, maxAgeSeconds, clock } = this.#options;
    if (revocations.isRevoked(claims)) {
      throw new Refusal(Reason.TOKEN_REVOKED, "the session of this token has ended", { nextStep: "sign in again" });
    }
    const app = this.#apps.get(claims.app_id);
    if (app === undefined) this.follow(claims.app_id);
    if (maxAgeSeconds === undefined) return;
    const age = unixSeconds(clock) - (app?.seenAt ?? 0);
    if (age <= maxAgeSeconds) return;
    throw new Refusal(Reason.VIEW_STALE, "what is known of the app's sessions is too old to go by", {
      metadata: { age_seconds: String(age) },
      nextStep: "try again",
    });
  }

  /** Ends what is being done in the background. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#apps.values()].map((app) => app.stop()));
  }
}

class FollowedApp {
  readonly #appId: string;
  readonly #options: SessionFollowerOptions;
  readonly #onEnd: () => void;
  readonly #stopping = new AbortController();
  #running = Promise.resolve();
  #wake: (() => void) | undefined;
  #failures = 0;
  /** The cursor at which an event was missing. If it still is in a new stream, it had expired. */
  #gapAt: bigint | undefined;
  /** When the last head was true, in Unix seconds. */
  seenAt = 0;

  constructor(appId: string, options: SessionFollowerOptions, onEnd: () => void) {
    this.#appId = appId;
    this.#options = options;
    this.#onEnd = onEnd;
  }

  start(): void {
    this.#running = this.#run();
  }

  hurry(): void {
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const tenant = this.#tenant();
      if (tenant === undefined) break;
      try {
        await this.#listen(tenant, signal);
        this.#failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        // The token that the stream began with is over, which is no trouble: heads came, and now a new one is asked for.
        if (this.#failures === 0 && isRefusal(error, Reason.TOKEN_EXPIRED)) this.#failures++;
        else await this.#failed(error);
      }
    }
    this.#onEnd();
  }

  /** Any tenant of the app can listen: its events are the same for all. */
  #tenant() {
    return this.#options.tenancy.tenants.ofApp(this.#appId).find(({ state }) => state === "ACTIVE");
  }

  /** Returns if there is reason to open the stream anew at once. */
  async #listen(tenant: { appId: string; serviceId: string }, signal: AbortSignal): Promise<void> {
    const { views, revocations } = this.#options;
    const source = await authProviderOf(this.#appId, views);
    const afterSequence = revocations.cursor(source);
    let isFirst = true;
    for await (const message of watchSessions(tenant, { source, afterSequence, signal }, this.#options)) {
      this.#failures = 0;
      if (message.kind === "event") {
        if (this.#isGap(source, message.event.sequence - 1n)) return;
        await this.#apply(message.event);
        continue;
      }
      // The first head comes before the events behind the cursor, every other one after all that it tells of.
      const isBehind = message.heads.sequence > revocations.cursor(source);
      if (!isFirst && this.#isGap(source, message.heads.sequence)) return;
      if (!isFirst || !isBehind) await this.#confirm(source, message.heads);
      isFirst = false;
      if (this.#tenant() === undefined || (await authProviderOf(this.#appId, views)).origin !== source.origin) return;
    }
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
    await tenancy.writes.run("session.revoke", () => {
      if (event.sequence > revocations.cursor(event)) revocations.apply(event, unixSeconds(clock));
    });
  }

  async #confirm(source: EventSource, { header, sequence }: SessionHeads): Promise<void> {
    const { tenancy, revocations, clock } = this.#options;
    if (sequence > revocations.cursor(source)) {
      await tenancy.writes.run("session.advance", () => revocations.advance(source, sequence));
    }
    this.seenAt = Math.min(Number(header?.issuedAt ?? 0n), unixSeconds(clock));
  }

  async #failed(error: unknown): Promise<void> {
    const { tenancy, revocations, views } = this.#options;
    if (isRefusal(error, Reason.CURSOR_INVALID)) {
      // It counts from the beginning again. What it told before stays in place until it says nothing more.
      const source = await authProviderOf(this.#appId, views).catch(() => undefined);
      if (source !== undefined) {
        tenancy.logger.error(
          { appId: this.#appId, origin: source.origin },
          "the Auth Provider has lost session events",
        );
        await tenancy.writes.run("session.advance", () => revocations.advance(source, 0n));
      }
    }
    tenancy.logger.warn({ appId: this.#appId, err: error }, "the app's session events can't be followed");
    await this.#wait();
  }

  /** Waits for the next attempt. Parties that failed together don't try again in step. */
  #wait(): Promise<void> {
    const { clock, random } = this.#options;
    const [byte = 0] = random(1);
    const delay = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LAST_RETRY_MS) * (0.75 + byte / 512);
    this.#failures++;
    return new Promise((resolve) => {
      const cancel = clock.setTimer(delay, () => this.#wake?.());
      this.#wake = () => {
        cancel();
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
