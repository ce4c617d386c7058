import { create } from "@bufbuild/protobuf";
import { type TokenSet, TokenSetSchema } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import { toBase64Url } from "../core/bytes.ts";
import { type Clock, unixSeconds } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { signAccessToken } from "../token/access-token.ts";
import { type AccessTokenClaims, audienceOf, MAX_TOKEN_LIFE_SECONDS, serviceSubjectOf } from "../token/claims.ts";
import { announcementOf } from "./announcement.ts";
import { type AppViews, authMissing } from "./app-views.ts";
import type { Issuer } from "./issuer.ts";
import type { KeyPairs } from "./key-pairs.ts";
import type { IssuedRefreshToken, Session } from "./sessions.ts";
import { subjectOf } from "./users.ts";

/** The permission to issue tokens for one service, from a view of the app that is fresh now. */
export type Grant = { readonly appId: string; readonly serviceId: string; readonly authKey: SigningKey };

/** The permission to issue a token to one service. */
export type ServiceGrant = Grant & {
  /** Who the token is for. */
  readonly audience: string;
  /** The ID of the Service key that asked. */
  readonly keyId: string;
};

/** A token and when it expires, in Unix seconds. */
export type SignedToken = { readonly accessToken: string; readonly expiresAt: number };

/** What {@link TokenIssuer} needs. */
export type TokenIssuerOptions = {
  readonly issuer: Issuer;
  readonly pairs: KeyPairs;
  readonly views: AppViews;
  readonly clock: Clock;
  readonly random: Random;
  /** At most, and by default, 900. */
  readonly tokenLifeSeconds?: number | undefined;
};

const TOKEN_ID_LENGTH = 16;

/** Issues the tokens of users and services. */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions;
  readonly #lifeSeconds: number;

  constructor(options: TokenIssuerOptions) {
    this.#options = options;
    this.#lifeSeconds = Math.min(options.tokenLifeSeconds ?? MAX_TOKEN_LIFE_SECONDS, MAX_TOKEN_LIFE_SECONDS);
  }

  /**
   * Finds out whether tokens may be issued for a service now, and with which key: with ours that the app's registry lists
   * as the active one, under our issuer, or with none.
   *
   * @throws Refusal AUTH_MISSING, SERVICE_UNKNOWN, SERVICE_SUSPENDED, SERVICE_REVOKED, VIEW_STALE or REGISTRY_UNAVAILABLE
   */
  async authorise(appId: string, serviceId: string): Promise<Grant> {
    const authKey = await this.authKeyOf(appId);
    await this.#options.views.requireActive(appId, serviceId);
    return { appId, serviceId, authKey };
  }

  /** As {@link TokenIssuer.authorise}, if that is clear without waiting for anything; otherwise undefined. */
  authoriseNow(appId: string, serviceId: string): Grant | undefined {
    const { views } = this.#options;
    const app = views.appNow(appId);
    const authKey = app && this.#signingKey(app);
    return authKey && views.isActiveNow(appId, serviceId) ? { appId, serviceId, authKey } : undefined;
  }

  /**
   * The key that signs an app's tokens now.
   *
   * @throws Refusal AUTH_MISSING, VIEW_STALE or REGISTRY_UNAVAILABLE
   */
  async authKeyOf(appId: string): Promise<SigningKey> {
    const { views } = this.#options;
    // An announcement may be newer than the view, and then it is what everybody waits for.
    const authKey = this.#signingKey(await views.app(appId)) ?? this.#signingKey(await views.refresh(appId));
    if (authKey === undefined) throw authMissing();
    return authKey;
  }

  #signingKey({ appId, context }: App): SigningKey | undefined {
    const { issuer, pairs, clock } = this.#options;
    if (context?.authProviderUrl !== issuer.urlOf(appId)) return undefined;
    const now = unixSeconds(clock);
    const active = pairs.ofApp(appId).find((pair) => announcementOf(pair, context, now) === "active");
    return active && pairs.secrets(active)?.authKey;
  }

  /** The tokens of one step of a session. */
  issue({ appId, serviceId, authKey }: Grant, session: Session & IssuedRefreshToken): TokenSet {
    const { accessToken, expiresAt } = this.#sign(appId, authKey, {
      sub: subjectOf(session.userId),
      aud: audienceOf(appId, serviceId),
      token_use: "user",
      sid: session.sessionId,
    });
    return create(TokenSetSchema, {
      accessToken,
      accessTokenExpiresAt: BigInt(expiresAt),
      refreshToken: session.refreshToken,
      refreshTokenExpiresAt: BigInt(session.expiresAt),
    });
  }

  /** A token with which one service calls another party of the app, bound to the Service key that asked for it. */
  issueToService({ appId, serviceId, audience, keyId, authKey }: ServiceGrant): SignedToken {
    return this.#sign(appId, authKey, {
      sub: serviceSubjectOf(serviceId),
      aud: audience,
      token_use: "service",
      cnf: { jkt: keyId },
    });
  }

  #sign(
    appId: string,
    authKey: SigningKey,
    claims: Pick<AccessTokenClaims, "sub" | "aud" | "token_use" | "sid" | "cnf">,
  ): SignedToken {
    const { issuer, clock, random } = this.#options;
    const iat = unixSeconds(clock);
    const exp = iat + this.#lifeSeconds;
    const jti = toBase64Url(random(TOKEN_ID_LENGTH));
    const client = claims.token_use === "service" ? claims.sub : appId;
    const whole = { iss: issuer.urlOf(appId), app_id: appId, client_id: client, iat, exp, jti, ...claims };
    return { accessToken: signAccessToken(whole, authKey), expiresAt: exp };
  }
}
