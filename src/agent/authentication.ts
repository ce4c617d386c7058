import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { Views } from "../directory/views.ts";
import { requireSender } from "../tenancy/service-sender.ts";
import { requireActive, type Standings } from "../tenancy/standings.ts";
import type { Tenants } from "../tenancy/tenants.ts";
import { type TenantId, tenantUnknown } from "../tenancy/tenants.ts";
import type { AcceptedToken, TokenExpectation } from "../token/access-token.ts";
import { bearerToken } from "../token/bearer.ts";
import { type AccessTokenClaims, audienceOf, type TokenUse } from "../token/claims.ts";
import { tokenInvalid } from "../token/token-invalid.ts";
import { createTokenVerifier, type ShownToken } from "../token/token-verifier.ts";
import type { ContextFlow } from "./context-flow.ts";
import type { Contexts } from "./contexts.ts";
import type { SessionFollower } from "./session-follower.ts";

/** A user, or a service of the same app, who called one of the provider's tenants. */
export type Caller = {
  /** The tenant that the token is for. */
  readonly tenant: TenantId;
  /** What the app's Auth Provider says of the caller. */
  readonly claims: AccessTokenClaims;
  /** The ID of the service that called; undefined if it was a user. */
  readonly callingService: string | undefined;
};

/** What {@link Authentication} needs. */
export type AuthenticationOptions = {
  readonly tenants: Tenants;
  readonly standings: Standings;
  readonly contexts: Contexts;
  readonly contextFlow: Pick<ContextFlow, "observe" | "isNews">;
  readonly views: Views;
  readonly clock: Clock;
  /** Which sessions have ended; undefined if this agent doesn't learn it. */
  readonly sessions: Pick<SessionFollower, "requireLive"> | undefined;
};

/** That a user was let in, and when and in which state of things that would happen again; but for the session. */
type LetIn = Pick<AcceptedToken, "from" | "until"> & { readonly caller: Caller; readonly state: number };

type Shown = ShownToken<LetIn>;

/** Tells who calls, and for which tenant, by an access token of the tenant's app. */
export class Authentication {
  readonly #options: AuthenticationOptions;
  readonly #verify = createTokenVerifier<LetIn>();

  constructor(options: AuthenticationOptions) {
    this.#options = options;
  }

  /**
   * Verifies an access token of a user, and that its tenant may serve: that it is one of ours and in use, and that its
   * service is active at the registry, as of at most a few seconds ago. At once, if the token was accepted before and
   * nothing has changed since: so it is for nearly all calls.
   *
   * @param credentials the token, or the headers of a request that has it in `authorization: Bearer …` (RFC 6750 section 2.1)
   * @throws Refusal TOKEN_MISSING, TOKEN_INVALID {rule}, TOKEN_EXPIRED, TOKEN_REVOKED (its session has ended), TENANT_UNKNOWN,
   *   SERVICE_SUSPENDED, SERVICE_REVOKED or VIEW_STALE {age_seconds}
   */
  authenticate(credentials: string | Headers): Caller | Promise<Caller> {
    const token = this.#show(credentials);
    const before = token.conclusion;
    if (before === undefined || !this.#holds(before)) return this.#letIn(token);
    this.#options.sessions?.requireLive(before.caller.claims);
    return before.caller;
  }

  async #letIn(token: Shown): Promise<Caller> {
    const tenant = this.#tenantOf(token);
    // Of before all that is read from here on: what changes meanwhile makes the conclusion one that doesn't hold.
    const state = this.#state(tenant);
    const { app, claims, from, until } = await this.#accept(token, tenant, "user");
    // Bound to a key that its bearer has to prove (RFC 9449), which is not asked for here.
    if (claims.cnf !== undefined) throw tokenInvalid("cnf");
    this.#options.sessions?.requireLive(claims);
    const caller = Object.freeze({ tenant, claims, callingService: undefined });
    // News that the tenant could not be told is tried again with each call.
    const isSettled = state !== undefined && !this.#options.contextFlow.isNews(tenant, app);
    token.conclusion = isSettled ? { caller, from, until, state } : undefined;
    return caller;
  }

  #holds({ caller, from, until, state }: LetIn): boolean {
    const now = unixSeconds(this.#options.clock);
    return from <= now && now < until && this.#state(caller.tenant) === state;
  }

  /**
   * A number that is another one after each change of what {@link #accept} goes by: the views, and the tables. Undefined if a
   * view is too old to go by.
   */
  #state({ appId, serviceId }: TenantId): number | undefined {
    const { tenants, standings, contexts, views } = this.#options;
    const revision = views.revision(appId, serviceId);
    // None of them ever falls, so their sum tells if one has changed.
    return revision && revision + tenants.changes + standings.changes + contexts.changes;
  }

  /**
   * Verifies an access token of a service of the tenant's app, and that both services are active at the registry. The key
   * that the token is bound to has to count still: see {@link requireSender}.
   *
   * @param credentials as for {@link authenticate}
   * @throws Refusal as {@link authenticate} does; TOKEN_REVOKED
   */
  async authenticateService(credentials: string | Headers): Promise<Caller> {
    const token = this.#show(credentials);
    const tenant = this.#tenantOf(token);
    const { claims } = await this.#accept(token, tenant, "service");
    const callingService = await this.#view(tenant, (views) =>
      requireSender(claims, { views, clock: this.#options.clock }),
    );
    return { tenant, claims, callingService };
  }

  #show(credentials: string | Headers): Shown {
    return this.#verify.show(typeof credentials === "string" ? credentials : bearerToken(credentials));
  }

  async #accept(token: Shown, tenant: TenantId, use: TokenUse): Promise<AcceptedToken & { readonly app: App }> {
    this.#options.standings.requireServing(tenant);
    const accepted = await this.#verifyToken(token, tenant, use);
    const { status } = await this.#view(tenant, (views) => views.service(tenant.appId, tenant.serviceId));
    requireActive(status);
    return accepted;
  }

  /** The tenant that a token says it is for. Only a choice of whose keys are tried: nothing in the token counts yet. */
  #tenantOf({ audiences }: Shown): TenantId {
    for (const audience of audiences) {
      const slash = audience.indexOf("/");
      if (slash < 0 || audience.includes("/", slash + 1)) continue;
      const tenant = Object.freeze({ appId: audience.slice(0, slash), serviceId: audience.slice(slash + 1) });
      if (this.#options.tenants.get(tenant)?.state === "ACTIVE") return tenant;
    }
    throw tenantUnknown();
  }

  async #verifyToken(token: Shown, tenant: TenantId, use: TokenUse): Promise<AcceptedToken & { readonly app: App }> {
    const app = await this.#app(tenant, ({ app }) => app(tenant.appId));
    try {
      return { app, ...(await token.verify(this.#expectationOf(app, tenant, use))) };
    } catch (error) {
      // A key that was announced a moment ago. A stranger's key costs one read a second at most.
      if (!(error instanceof Refusal) || error.metadata.rule !== "kid") throw error;
      const newer = await this.#app(tenant, ({ refresh }) => refresh(tenant.appId));
      return { app: newer, ...(await token.verify(this.#expectationOf(newer, tenant, use))) };
    }
  }

  #expectationOf({ context }: App, { appId, serviceId }: TenantId, use: TokenUse): TokenExpectation {
    return {
      keys: context?.authKeys ?? [],
      issuer: context?.authProviderUrl ?? "",
      audience: audienceOf(appId, serviceId),
      use,
      now: unixSeconds(this.#options.clock),
    };
  }

  async #app(tenant: TenantId, read: (views: Views) => Promise<App>): Promise<App> {
    const app = await this.#view(tenant, read);
    this.#options.contextFlow.observe(tenant, app);
    return app;
  }

  /** Reads a view. Whatever keeps it from being read, the tenant's callers can only wait for it to be back. */
  async #view<T>(tenant: TenantId, read: (views: Views) => Promise<T>): Promise<T> {
    const { views, contexts, clock } = this.#options;
    try {
      return await read(views);
    } catch (error) {
      if (!(error instanceof Refusal) || error.reason === Reason.TOKEN_REVOKED) throw error;
      const seenAt = contexts.get(tenant)?.seenAt ?? 0;
      const age = error.metadata.age_seconds ?? String(unixSeconds(clock) - seenAt);
      throw new Refusal(Reason.VIEW_STALE, "what is known of the app is too old to go by", {
        metadata: { age_seconds: age },
        nextStep: "try again",
        cause: error,
      });
    }
  }
}
