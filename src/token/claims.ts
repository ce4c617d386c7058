import { type OperationalRole, OperationalRoleSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import { isName } from "../core/names.ts";
import { MAX_URL_LENGTH } from "../core/url.ts";
import { isKeyId } from "../statement/key-id.ts";
import { type TokenRule, tokenInvalid } from "./token-invalid.ts";
import { isJsonObject, parseUniqueJsonObject } from "./unique-json.ts";

/** The longest life of an access token in seconds, from `iat` to `exp`. */
export const MAX_TOKEN_LIFE_SECONDS = 900;

/** Whom a token speaks for. */
export type TokenUse = "user" | "service";

/** What every access token says beside its audience (RFC 9068 section 2.2 and the mesh's own `app_id`, `token_use`). */
type CommonClaims = {
  /** The app's `auth_provider_url`. */
  readonly iss: string;
  /** `user:<opaque>` or `service:<service_id>`, as `token_use` says. */
  readonly sub: string;
  /** The app. */
  readonly app_id: string;
  /**
   * The client in the sense of OAuth: the app that the user signed in to, or the service that asked, as in `sub`. Others
   * expect it (RFC 9068 section 2.2), here nothing follows from it.
   */
  readonly client_id?: string;
  /** Whom it speaks for. */
  readonly token_use: TokenUse;
  /** When it was issued, in Unix seconds. */
  readonly iat: number;
  /** When it ends, in Unix seconds, exclusive. */
  readonly exp: number;
  /** Names the token. */
  readonly jti: string;
  /** Names the session it belongs to. */
  readonly sid?: string;
  /** Names of permissions with single spaces between them (RFC 6749 section 3.3). */
  readonly scope?: string;
  /** The key that the bearer holds (RFC 9449 section 6): of a service token, the Service key that asked for it. */
  readonly cnf?: { readonly jkt: string };
};

/** The claims of an access token for one service. */
export type AccessTokenClaims = CommonClaims & {
  /** `<app_id>/<service_id>`: the service it is for. */
  readonly aud: string;
};

/** The claims of a token as it came: it may name several services. */
export type ReceivedClaims = CommonClaims & {
  readonly audiences: readonly string[];
  /** From when it counts, in Unix seconds. */
  readonly nbf: number;
};

/** The audience of tokens for a service. */
export function audienceOf(appId: string, serviceId: string): string {
  return `${appId}/${serviceId}`;
}

/** The audience of tokens for an operational service of an app: `<app_id>/backbone.<role>.<name>`, the role in lower case. */
export function backboneAudienceOf(appId: string, role: OperationalRole, name: string): string {
  return `${appId}/backbone.${OperationalRoleSchema.value[role]?.localName.toLowerCase()}.${name}`;
}

/** What stands in the `sub` of a service's tokens. */
export function serviceSubjectOf(serviceId: string): string {
  return `${SERVICE_SUBJECT_PREFIX}${serviceId}`;
}

/** The service that a service token speaks for. */
export function serviceIdOf({ sub }: Pick<AccessTokenClaims, "sub">): string {
  return sub.slice(SERVICE_SUBJECT_PREFIX.length);
}

/**
 * Reads claims, and checks all about them that holds whoever the receiver is. Claims that the mesh doesn't know are
 * ignored, so that issuers may add their own (RFC 7519 section 4).
 *
 * @throws Refusal TOKEN_INVALID with the rule `json` or the name of the first claim that is missing or wrong
 */
export function readClaims(payload: Uint8Array): ReceivedClaims {
  const claims = parseUniqueJsonObject(payload);
  if (claims === undefined) throw tokenInvalid("json");
  const iss = textOf(claims.iss, "iss", MAX_URL_LENGTH);
  const appId = textOf(claims.app_id, "app_id", MAX_URL_LENGTH);
  if (parseAppId(appId) === undefined) throw tokenInvalid("app_id");
  const tokenUse = claims.token_use;
  if (tokenUse !== "user" && tokenUse !== "service") throw tokenInvalid("token_use");
  const sub = textOf(claims.sub, "sub", MAX_SUBJECT_LENGTH);
  if (!isSubject(sub, tokenUse)) throw tokenInvalid("sub");
  const iat = timeOf(claims.iat, "iat");
  const exp = timeOf(claims.exp, "exp");
  if (exp <= iat || exp - iat > MAX_TOKEN_LIFE_SECONDS) throw tokenInvalid("exp");
  const nbf = claims.nbf === undefined ? iat : timeOf(claims.nbf, "nbf");
  const jti = textOf(claims.jti, "jti", MAX_ID_LENGTH);
  const audiences = audiencesOf(claims.aud);
  const optional = optionalClaims(claims, tokenUse);
  return { iss, sub, audiences, app_id: appId, token_use: tokenUse, iat, nbf, exp, jti, ...optional };
}

function optionalClaims(
  claims: Readonly<Record<string, unknown>>,
  use: TokenUse,
): Pick<CommonClaims, "client_id" | "sid" | "scope" | "cnf"> {
  const { client_id: clientId, sid, scope, cnf } = claims;
  if (scope !== undefined && (typeof scope !== "string" || scope.length > MAX_SCOPE_LENGTH || !SCOPE.test(scope))) {
    throw tokenInvalid("scope");
  }
  if (cnf === undefined && use === "service") throw tokenInvalid("cnf");
  return {
    ...(clientId !== undefined && { client_id: textOf(clientId, "client_id", MAX_URL_LENGTH) }),
    ...(sid !== undefined && { sid: textOf(sid, "sid", MAX_ID_LENGTH) }),
    ...(scope !== undefined && { scope }),
    ...(cnf !== undefined && { cnf: confirmationOf(cnf) }),
  };
}

/** A token that is bound to something else than a key's thumbprint can't be checked here, so it doesn't count. */
function confirmationOf(cnf: unknown): { jkt: string } {
  if (!isJsonObject(cnf)) throw tokenInvalid("cnf");
  const { jkt, ...others } = cnf;
  if (typeof jkt !== "string" || !isKeyId(jkt) || Object.keys(others).length > 0) throw tokenInvalid("cnf");
  return { jkt };
}

/** One string or a list of them (RFC 7519 section 4.1.3). */
function audiencesOf(aud: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (list.length === 0 || list.length > MAX_AUDIENCES) throw tokenInvalid("aud");
  return list.map((entry) => textOf(entry, "aud", MAX_URL_LENGTH));
}

/** `user:` and an opaque ID of the issuer, or `service:` and a service ID. */
function isSubject(sub: string, use: TokenUse): boolean {
  if (use === "user") return USER_SUBJECT.test(sub);
  return sub.startsWith(SERVICE_SUBJECT_PREFIX) && isName(serviceIdOf({ sub }));
}

function textOf(value: unknown, rule: TokenRule, maxLength: number): string {
  if (typeof value !== "string" || value.length === 0 || value.length > maxLength) throw tokenInvalid(rule);
  return value;
}

/** A NumericDate (RFC 7519 section 2) in whole seconds. `1e400` is Infinity to JSON.parse, and later than any expiry. */
function timeOf(value: unknown, rule: TokenRule): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > MAX_TIME) throw tokenInvalid(rule);
  return value;
}

const SERVICE_SUBJECT_PREFIX = "service:";
const MAX_AUDIENCES = 16;
const MAX_ID_LENGTH = 128;
const MAX_SUBJECT_LENGTH = 160;
const MAX_SCOPE_LENGTH = 1024;
/** The end of the year 9999, the greatest time in any message of the mesh. */
const MAX_TIME = 253402300799;
const USER_SUBJECT = /^user:[A-Za-z0-9_-]{1,128}$/;
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;
