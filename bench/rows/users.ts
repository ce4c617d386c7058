import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { signInUser, signUpUser } from "../../src/developer/users.ts";
import { meshDomains } from "../../src/operator/mesh.ts";
import { startChild } from "../child.ts";
import type { Loop } from "../children/loops.ts";
import type { OidcChildOptions, OidcReady } from "../children/oidc.ts";
import type { RefreshLoadOptions } from "../children/refresh-load.ts";
import type { Contender, Row, Setting } from "../harness.ts";
import { startBenchMesh } from "../mesh.ts";
import { wrk, wrkScript } from "../tools.ts";

/** How many users refresh at the same time. */
const users = 16;

async function refreshing(name: string, options: RefreshLoadOptions, setting: Setting): Promise<Contender> {
  const load = await startChild("refresh-load", options, setting);
  return { name, measure: async (seconds) => (await load.ask<{ rate: number }>({ seconds })).rate };
}

function startOidc(setting: Setting) {
  return startChild<OidcReady>("oidc", { sessions: users } satisfies OidcChildOptions, setting);
}

/** Users: beside what one would take for them instead. */
export const userRows: readonly Row[] = [
  {
    name: "user-refresh",
    what: `a user's tokens refreshed: access token signed, refresh token rotated and on disk; ${users} users, HTTP/1.1`,
    against: "oidc-provider, the same grant, its state in memory",
    reach: 1,
    needs: [],
    async prepare(setting) {
      const { connections, developer, appId, urlOf } = await startBenchMesh(setting);
      const serviceId = "articles";
      await developer.provisionService({
        appId,
        provider: meshDomains.articles,
        serviceType: "cms-article",
        serviceId,
      });
      const credentials = { appId, userName: "bob", password: "correct horse battery staple" };
      await signUpUser(connections, credentials);
      const refreshTokens: string[] = [];
      while (refreshTokens.length < users) {
        refreshTokens.push((await signInUser(connections, { ...credentials, serviceId })).refreshToken);
      }
      const { ready: oidc } = await startOidc(setting);
      return [
        await refreshing(
          "auth provider",
          {
            url: `${urlOf(meshDomains.auth)}/omi.auth.v1.UserService/RefreshToken`,
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ appId, serviceId, refreshToken: "REFRESH_TOKEN" }),
            tokenPath: ["tokens", "refreshToken"],
            refreshTokens,
          },
          setting,
        ),
        await refreshing(
          "oidc-provider",
          {
            url: `${oidc.url}/token`,
            headers: { "content-type": "application/x-www-form-urlencoded" },
            body: `${new URLSearchParams({
              grant_type: "refresh_token",
              client_id: oidc.clientId,
              client_secret: oidc.clientSecret,
            })}&refresh_token=REFRESH_TOKEN`,
            tokenPath: ["refresh_token"],
            refreshTokens: oidc.refreshTokens,
          },
          setting,
        ),
      ];
    },
  },
  {
    name: "user-check",
    what: "a user's token checked for one request: verified locally, none of them seen before",
    against: "a call to the introspection endpoint of oidc-provider for each request",
    reach: 1,
    needs: ["wrk"],
    async prepare(setting) {
      const loops = await startChild("loops", {}, setting);
      const loop: Loop = "token-verify";
      const { ready: oidc } = await startOidc(setting);
      const directory = mkdtempSync(join(tmpdir(), "omi-bench-"));
      setting.cleanUp(() => rmSync(directory, { recursive: true }));
      const script = join(directory, "introspect.lua");
      const form = new URLSearchParams({
        ...{ token: oidc.accessToken, client_id: oidc.clientId, client_secret: oidc.clientSecret },
      });
      writeFileSync(script, wrkScript(Buffer.from(`${form}`)));
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const target = { url: `${oidc.url}/token/introspection`, headers };
      return [
        { name: "local", measure: async (seconds) => (await loops.ask<{ rate: number }>({ loop, seconds })).rate },
        { name: "introspection", measure: (seconds) => wrk(target, seconds, { file: script }) },
      ];
    },
  },
];
