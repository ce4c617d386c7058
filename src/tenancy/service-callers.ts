import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import type { Views } from "../directory/views.ts";
import type { AccessTokenClaims } from "../token/claims.ts";
import { tokenInvalid } from "../token/token-invalid.ts";
import { createTokenVerifier } from "../token/token-verifier.ts";
import { requireSender } from "./service-sender.ts";
import { tenantUnknown } from "./tenants.ts";

/** A service of an app that called. */
export type ServiceCaller = {
  readonly appId: string;
  readonly serviceId: string;
  /** What the app's Auth Provider says of it. */
  readonly claims: AccessTokenClaims;
};

/** Tells which service of an app calls a party that serves whole apps: their Auth Provider, their billing service. */
export class ServiceCallers {
  readonly #views: Views;
  readonly #clock: Clock;
  readonly #verify = createTokenVerifier();

  constructor(options: { readonly views: Views; readonly clock: Clock }) {
    this.#views = options.views;
    this.#clock = options.clock;
  }

  /**
   * Verifies a service token for one of the audiences that this party has in the app, as of at most a few seconds ago.
   *
   * @param audiencesOf the audiences, by what the registry says of the app
   * @throws Refusal TOKEN_INVALID {rule}, TOKEN_EXPIRED, TOKEN_REVOKED, TENANT_UNKNOWN (the registry doesn't know the app) or
   *   VIEW_STALE {age_seconds}
   */
  async authenticate(
    token: string,
    appId: string,
    audiencesOf: (app: App) => readonly string[],
  ): Promise<ServiceCaller> {
    const app = await this.#view(() => this.#views.app(appId));
    let claims: AccessTokenClaims;
    try {
      claims = await this.#verifyWith(app, token, audiencesOf(app));
    } catch (error) {
      // A key that was announced, or a backbone that was set, a moment ago. A stranger's token costs one read a second.
      if (!isRefusal(error, Reason.TOKEN_INVALID) || !MAY_BE_NEW.has(error.metadata.rule ?? "")) throw error;
      const newer = await this.#view(() => this.#views.refresh(appId));
      claims = await this.#verifyWith(newer, token, audiencesOf(newer));
    }
    const caller = { appId, claims };
    return { ...caller, serviceId: await this.requireCurrent(caller) };
  }

  /**
   * Checks that a caller whose token was verified before may still call.
   *
   * @returns its service ID
   * @throws Refusal TOKEN_EXPIRED, TOKEN_REVOKED or VIEW_STALE {age_seconds}
   */
  async requireCurrent({ claims }: Pick<ServiceCaller, "claims">): Promise<string> {
    if (claims.exp <= unixSeconds(this.#clock)) throw new Refusal(Reason.TOKEN_EXPIRED, "the access token has expired");
    return this.#view(() => requireSender(claims, { views: this.#views, clock: this.#clock }));
  }

  async #verifyWith({ context }: App, token: string, audiences: readonly string[]): Promise<AccessTokenClaims> {
    // Only a choice among what this party is: nothing in the token counts yet.
    const shown = this.#verify.show(token);
    const audience = audiences.find((candidate) => shown.audiences.includes(candidate));
    if (audience === undefined) throw tokenInvalid("aud");
    const { claims } = await shown.verify({
      keys: context?.authKeys ?? [],
      issuer: context?.authProviderUrl ?? "",
      audience,
      use: "service",
      now: unixSeconds(this.#clock),
    });
    return claims;
  }

  /** Reads a view. Whatever keeps it from being read, the caller can only wait for it to be back. */
  async #view<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      if (isRefusal(error, Reason.APP_UNKNOWN)) throw tenantUnknown();
      if (!isRefusal(error) || error.reason === Reason.TOKEN_REVOKED) throw error;
      // Without an age it was never known, since the beginning of time.
      const age = error.metadata.age_seconds ?? String(unixSeconds(this.#clock));
      throw new Refusal(Reason.VIEW_STALE, "what is known of the app is too old to go by", {
        metadata: { age_seconds: age },
        nextStep: "try again",
        cause: error,
      });
    }
  }
}

const MAY_BE_NEW: ReadonlySet<string> = new Set(["kid", "iss", "aud"]);
