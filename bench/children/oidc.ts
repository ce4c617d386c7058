import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { Provider } from "oidc-provider";
import { childOptions, serveLines } from "./lines.ts";

/** An Auth Provider as one would build it with oidc-provider: Ed25519 tokens of 15 minutes, refresh tokens that rotate. */
export interface OidcChildOptions {
  /** How many users are signed in. */
  readonly sessions: number;
}

/** What the child says when it is ready. */
export interface OidcReady {
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly refreshTokens: readonly string[];
  /** Of a user; opaque, as it introspects no others. */
  readonly accessToken: string;
}

// That it keeps its state in memory is what is wanted here.
console.warn = () => {};
const { sessions } = childOptions<OidcChildOptions>();
const clientId = "shop";
const clientSecret = "a secret that is long enough for everybody";
const resource = "https://articles.test";
const scope = "articles";
const key = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
const server = http.createServer();
await once(server.listen(0, "127.0.0.1"), "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

const provider = new Provider(url, {
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      token_endpoint_auth_method: "client_secret_post",
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      redirect_uris: ["https://shop.test/signed-in"],
      id_token_signed_response_alg: "EdDSA",
    },
  ],
  jwks: { keys: [{ ...key, alg: "EdDSA", use: "sig", kid: "bench" }] },
  enabledJWA: { idTokenSigningAlgValues: ["EdDSA"] },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope,
        accessTokenTTL: 900,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "EdDSA" } },
      }),
    },
  },
  rotateRefreshToken: true,
  ttl: { AccessToken: 900, RefreshToken: 86_400, Grant: 86_400, Session: 86_400 },
  cookies: { keys: ["not used by these endpoints"] },
  findAccount: (_: unknown, accountId: string) => ({ accountId, claims: () => ({ sub: accountId }) }),
});
server.on("request", provider.callback());

const client = await provider.Client.find(clientId);
const now = Math.floor(Date.now() / 1000);

async function signIn(accountId: string) {
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope("offline_access");
  grant.addResourceScope(resource, scope);
  const common = { accountId, client, grantId: await grant.save(), gty: "authorization_code" };
  const all = { ...common, scope: `offline_access ${scope}`, resource, rotations: 0, iiat: now };
  return {
    refreshToken: await new provider.RefreshToken(all).save(),
    accessToken: await new provider.AccessToken({ ...common, scope }).save(),
  };
}

const signedIn = await Promise.all(Array.from({ length: sessions }, (_, index) => signIn(`user-${index}`)));
await serveLines(
  {
    ...{ url, clientId, clientSecret },
    refreshTokens: signedIn.map(({ refreshToken }) => refreshToken),
    accessToken: signedIn[0]?.accessToken ?? "",
  } satisfies OidcReady,
  () => ({}),
  () => process.exit(),
);
