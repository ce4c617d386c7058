import { parseAppId } from "../core/app-id.ts";
import { toBase64Url } from "../core/bytes.ts";
import { unixSeconds } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import type { HttpResponse, HttpRoute } from "../rpc/http/http-routes.ts";
import { announcementOf } from "./announcement.ts";
import { type AuthCore, tenantOf } from "./core.ts";

// A revoked key must leave the caches of those who don't read the registry soon.
const CACHE_CONTROL = "public, max-age=60";

const JWKS_PATH = "/.well-known/jwks.json";
const OPENID_PATH = "/.well-known/openid-configuration";
const RFC8414_PREFIX = "/.well-known/oauth-authorization-server";

type DocumentsCore = Pick<AuthCore, "clock" | "issuer" | "pairs" | "tenancy" | "views">;

/**
 * What any JWT library needs to verify the tokens of an app: its key set (RFC 7517) and its discovery documents (OpenID
 * Connect Discovery 1.0, and RFC 8414 with its other place for them).
 */
export function documentRoutes(core: DocumentsCore): HttpRoute[] {
  const { pathPrefix } = core.issuer;
  return [
    {
      method: "GET",
      path: `${pathPrefix}*`,
      async handler({ path }) {
        const below = path.slice(pathPrefix.length);
        if (below.endsWith(JWKS_PATH)) return document(await keySet(core, below.slice(0, -JWKS_PATH.length)));
        if (below.endsWith(OPENID_PATH)) return document(discovery(core, below.slice(0, -OPENID_PATH.length)));
        throw notFound();
      },
    },
    {
      method: "GET",
      path: `${RFC8414_PREFIX}${pathPrefix}*`,
      handler: ({ path }) => document(discovery(core, path.slice(RFC8414_PREFIX.length + pathPrefix.length))),
    },
  ];
}

/**
 * The keys that tokens of an app may be signed with, now or soon: a pending key is published before it signs, and one in
 * grace until it stops counting. Those of other providers are theirs to publish.
 */
async function keySet({ clock, pairs, tenancy, views }: DocumentsCore, appId: string): Promise<object> {
  requireServed(tenancy, appId);
  const { context } = await views.app(appId);
  const now = unixSeconds(clock);
  const keys = pairs
    .ofApp(appId)
    .filter((pair) => announcementOf(pair, context, now) !== "over")
    .map(({ authKeyId, authPublicKey }) => ({
      // RFC 8037 section 2.
      kty: "OKP",
      crv: "Ed25519",
      x: toBase64Url(authPublicKey),
      kid: authKeyId,
      use: "sig",
      alg: "EdDSA",
    }));
  return { keys };
}

/**
 * Only what is true: users sign in by RPC, so there are no endpoints of OAuth or OpenID Connect, and what would be an empty
 * list is left out, as both specifications demand.
 */
function discovery({ issuer, tenancy }: DocumentsCore, appId: string): object {
  requireServed(tenancy, appId);
  const url = issuer.urlOf(appId);
  return {
    issuer: url,
    jwks_uri: `${url}${JWKS_PATH}`,
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ["EdDSA"],
    claims_supported: ["iss", "sub", "aud", "app_id", "client_id", "token_use", "iat", "exp", "jti", "sid"],
  };
}

function requireServed(tenancy: DocumentsCore["tenancy"], appId: string): void {
  if (parseAppId(appId) === undefined || tenancy.tenants.get(tenantOf(appId))?.state !== "ACTIVE") throw notFound();
}

function notFound(): Refusal {
  return new Refusal(Reason.NOT_FOUND, "no such document", { metadata: { field: "path" } });
}

function document(body: object): HttpResponse {
  return {
    headers: {
      "content-type": "application/json",
      "cache-control": CACHE_CONTROL,
      // Public, and read by web pages too.
      "access-control-allow-origin": "*",
    },
    body: JSON.stringify(body),
  };
}
