import {
  SignInRequestSchema,
  SignUpRequestSchema,
  type TokenSet,
  UserService,
} from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import type { Connections } from "../directory/connections.ts";
import { bounded } from "./core.ts";
import { callProvider } from "./reach.ts";

/** A user of an app, as they are known to its Auth Provider. */
export type UserCredentials = {
  readonly appId: string;
  readonly userName: string;
  readonly password: string;
};

/**
 * Makes a user account at an app's Auth Provider.
 *
 * @returns the user's `sub` in tokens
 * @throws Refusal FIELD_INVALID {field, rule}; AUTH_MISSING if the app has no Auth Provider; what the provider refuses
 */
export async function signUpUser(connections: Connections, credentials: UserCredentials): Promise<string> {
  const { appId, userName, password } = credentials;
  const request = bounded(SignUpRequestSchema, { appId, userName, password });
  const provider = await authProviderOf(connections, appId);
  const { subject } = await callProvider(connections, provider, UserService, (users) => users.signUp(request));
  return subject;
}

/**
 * Signs a user in for one service of an app.
 *
 * @throws Refusal FIELD_INVALID {field, rule}; AUTH_MISSING if the app has no Auth Provider; what the provider refuses
 */
export async function signInUser(
  connections: Connections,
  credentials: UserCredentials & { readonly serviceId: string },
): Promise<TokenSet> {
  const { appId, userName, password, serviceId } = credentials;
  const request = bounded(SignInRequestSchema, { appId, userName, password, serviceId });
  const provider = await authProviderOf(connections, appId);
  const { tokens } = await callProvider(connections, provider, UserService, (users) => users.signIn(request));
  if (tokens === undefined) throw answerInvalid(provider, "tokens", "no tokens in it");
  return tokens;
}

async function authProviderOf({ registries }: Connections, appId: string): Promise<string> {
  const { value: app } = await registries.forApp(appId).resolveApp(appId, { fresh: true });
  const provider = app.context?.authProvider ?? "";
  if (provider !== "") return provider;
  throw new Refusal(Reason.AUTH_MISSING, "the app has no Auth Provider", {
    nextStep: "Announce one with: omi auth provision",
  });
}
