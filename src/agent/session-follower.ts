import { unixSeconds } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { EventCarrier } from "../events/carrier.ts";
import type { AccessTokenClaims } from "../token/claims.ts";
import { AppSessions, type AppSessionsOptions } from "./app-sessions.ts";
import { SessionCarriage } from "./session-carriage.ts";

/** How an agent learns that sessions ended. */
export type SessionsOptions = {
  /**
   * The greatest age of the Auth Provider's last signed head, in seconds, while users are let in. If left out, users are let
   * in although the Auth Provider can't be asked: their tokens live for 15 minutes at most.
   */
  readonly maxAgeSeconds?: number;
  /**
   * How the events of an Auth Provider get here. By the stream of `SessionService.WatchSessions` if left out; otherwise that
   * stream is opened only to read heads, and what the carrier failed to bring.
   */
  readonly carrierFor?: (authProvider: string) => EventCarrier;
};

/** What {@link SessionFollower} needs. */
export type SessionFollowerOptions = AppSessionsOptions & SessionsOptions;

/** Follows the session events of the apps that have tenants here. */
export class SessionFollower {
  readonly #options: SessionFollowerOptions;
  readonly #carriage: SessionCarriage | undefined;
  readonly #apps = new Map<string, AppSessions>();
  #isStopped = false;

  constructor(options: SessionFollowerOptions) {
    this.#options = options;
    this.#carriage = options.carrierFor && new SessionCarriage(options.carrierFor);
  }

  /** Begins to follow an app; if it is followed and waits for its next attempt, that is made now. */
  follow(appId: string): void {
    if (this.#isStopped) return;
    const known = this.#apps.get(appId);
    if (known !== undefined) {
      known.hurry();
      return;
    }
    const app = new AppSessions(appId, this.#options, this.#carriage, () => this.#apps.delete(appId));
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
      throw new Refusal(Reason.TOKEN_REVOKED, "the session of this token has ended");
    }
    const app = this.#apps.get(claims.app_id);
    if (app === undefined) this.follow(claims.app_id);
    if (maxAgeSeconds === undefined) return;
    const age = unixSeconds(clock) - (app?.seenAt ?? 0);
    // Below 0 if the clock was set back: then it doesn't tell how old that is.
    if (age >= 0 && age <= maxAgeSeconds) return;
    throw new Refusal(Reason.VIEW_STALE, "what is known of the app's sessions is too old to go by", {
      metadata: { age_seconds: String(Math.max(0, age)) },
      nextStep: "try again",
    });
  }

  /** Ends what is being done in the background. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#apps.values()].map((app) => app.stop()));
    await this.#carriage?.close();
  }
}
