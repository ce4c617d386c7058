import type { SigningKey } from "../../src/statement/crypto.ts";
import { signAccessToken } from "../../src/token/access-token.ts";
import type { AccessTokenClaims } from "../../src/token/claims.ts";
import { announcementOf, registerTestApp, type TestApp, type TestService } from "../support/developer.ts";
import { testKey } from "../support/keys.ts";
import { type RunningRegistry, startRegistry } from "../support/registry.ts";
import { provision, type RunningAgent, serviceOrder, startAgent, type TestAgentOptions } from "./support.ts";

/** An app with an Auth Provider and a service that an agent has bound. */
export type ProvisionedMesh = {
  readonly registry: RunningRegistry;
  readonly running: RunningAgent;
  readonly app: TestApp;
  readonly service: TestService;
};

/** Starts a registry and an agent, and has a service provisioned for an app with an Auth Provider. */
export async function startProvisioned(options: TestAgentOptions = {}): Promise<ProvisionedMesh> {
  const registry = await startRegistry();
  const running = await startAgent(registry, options);
  const app = await registerTestApp(registry);
  await registry.registry.announceAuth({ statement: announcementOf(registry.clock, app) });
  return { registry, running, app, service: await provisionFor(registry, running, app) };
}

/** Has a service provisioned. Its key is the agent's secret, so what stands in its place signs for nobody. */
export async function provisionFor(
  registry: RunningRegistry,
  running: RunningAgent,
  app: TestApp,
  serviceId = "cms-article-77",
): Promise<TestService> {
  await provision(running, serviceOrder(registry, app, { serviceId }));
  return { app, serviceId, key: testKey("nobody") };
}

/** A token of the app's Auth Provider for the service, right unless something else is said. */
export function tokenFor(
  { clock }: RunningRegistry,
  { app, serviceId }: TestService,
  claims: Partial<AccessTokenClaims> = {},
  key: SigningKey = testKey(`auth ${app.appId}`),
): string {
  const now = clock.seconds();
  return signAccessToken(
    {
      iss: `http://auth.test/apps/${app.appId}`,
      sub: "user:alice",
      aud: `${app.appId}/${serviceId}`,
      app_id: app.appId,
      token_use: "user",
      iat: now,
      exp: now + 300,
      jti: "token-1",
      ...claims,
    },
    key,
  );
}
