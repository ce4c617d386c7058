import { onTestFinished } from "vitest";
import type { AgentOptions } from "../../src/agent/agent.ts";
import type { RegistryOptions } from "../../src/registry/service.ts";
import { outcomeOf, type startProvider } from "../auth/support.ts";
import { present } from "../support/developer.ts";
import { providers } from "../support/registry.ts";
import { type CallingAgent, type CallingMesh, startCallingMesh } from "./calls.ts";

/** A mesh with an Auth Provider, and an agent whose service `journal` users sign in for. */
export type SessionWorld = CallingMesh & { readonly article: CallingAgent; readonly appId: string };

/** Starts a registry, an Auth Provider, and an agent that runs. */
export async function startSessionWorld(
  options: Partial<AgentOptions> = {},
  auth: Parameters<typeof startProvider>[1] = {},
  registry: Partial<RegistryOptions> = {},
): Promise<SessionWorld> {
  const mesh = await startCallingMesh({ auth, registry });
  const article = await mesh.startAgent(providers.article, options);
  await mesh.provision(article, "journal");
  await article.agent.start();
  return { ...mesh, article, appId: mesh.app.appId };
}

/** A user who is signed in for `journal`. */
export async function signIn({ auth, appId }: Pick<SessionWorld, "auth" | "appId">, userName = "alice") {
  const password = "correct horse battery";
  await auth.users.signUp({ appId, userName, password }).catch(() => {});
  const { tokens } = await auth.users.signIn({ appId, userName, password, serviceId: "journal" });
  const { accessToken, refreshToken } = present(tokens);
  return { accessToken, refreshToken, signOut: () => auth.users.signOut({ appId, refreshToken }) };
}

/** `ok`, or why the service does not let somebody in with a token. */
export const accepts = ({ agent }: CallingAgent, token: string) => outcomeOf(agent.authenticate(token));

/** Lets time pass, a second at once, for as long as the test lasts. */
export function passTime({ registry }: SessionWorld, everyMs = 20): void {
  const timer = setInterval(() => registry.clock.advance(1), everyMs);
  onTestFinished(() => clearInterval(timer));
}
