import { type AuthProvisioned, AuthProvisionedSchema, ProvisionAuthSchema } from "../../gen/omi/auth/v1/auth_pb.ts";
import { AuthProviderService } from "../../gen/omi/auth/v1/auth_service_pb.ts";
import { type DirectoryEntry, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { type App, AuthAnnouncementSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { KeyPossessionSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import { answerInvalid, checkAnswer } from "../directory/answer-invalid.ts";
import { checkAudience } from "../statement/audience.ts";
import { checkBounds } from "../statement/bounds.ts";
import { openRequest, verifySignature } from "../statement/statement.ts";
import { configEpochOf } from "./apps.ts";
import { type DeveloperCore, orderAt, signAsMaster, verifyProviderAnswer, writeAt } from "./core.ts";
import { checkOwnUrl, findProvider } from "./provider.ts";

/** An Auth Provider to give an app. */
export type AuthOrder = {
  readonly appId: string;
  /** The domain of the Auth Provider. */
  readonly provider: string;
  /** How long tokens of another provider that was there before stay valid, in seconds, at most 86,400. Not at all if left out. */
  readonly keepPreviousAuthKeySeconds?: number;
  /** The config epoch that the change builds on. Read from the registry if left out. */
  readonly expectedConfigEpoch?: bigint;
};

/**
 * Gives an app its Auth Provider: the provider makes a tenant and two keys; the developer checks that the answer is the
 * provider's and that it holds both keys, and announces them at the registry.
 *
 * @returns the app as it is then
 */
export async function provisionAuth(core: DeveloperCore, order: AuthOrder): Promise<App> {
  const { appId, provider } = order;
  const registry = core.connections.registries.forApp(appId);
  const entry = await findProvider(core, provider, Party.AUTH_PROVIDER);
  const request = signAsMaster(core, ProvisionAuthSchema, provider, { appId });
  const { answer } = await orderAt(core, provider, AuthProviderService, request, (client, statement) =>
    client.provisionAuth({ statement }),
  );
  const { message, statement } = await verifyProviderAnswer(core, entry, AuthProvisionedSchema, answer, request);
  await checkProvisioned(core, entry, appId, registry.domain, message);

  const announcement = signAsMaster(core, AuthAnnouncementSchema, registry.domain, {
    appId,
    authPublicKey: message.authPublicKey,
    servicePublicKey: message.servicePublicKey,
    authProviderUrl: message.authProviderUrl,
    authProvider: provider,
    providerAnswer: statement,
    expectedConfigEpoch: order.expectedConfigEpoch ?? (await configEpochOf(core, appId)),
    keepPreviousAuthKeySeconds: order.keepPreviousAuthKeySeconds ?? 0,
  });
  return (await writeAt(core, registry, announcement, (announced) => registry.announceAuth(announced))).value;
}

async function checkProvisioned(
  core: DeveloperCore,
  { domain }: DirectoryEntry,
  appId: string,
  registryDomain: string,
  message: AuthProvisioned,
): Promise<void> {
  const { allowPlainHttp } = core.connections;
  await checkAnswer(domain, () => checkBounds(AuthProvisionedSchema, message, { field: "answer", allowPlainHttp }));
  if (message.appId !== appId) throw answerInvalid(domain, "answer.app_id", "it is about another app");
  checkOwnUrl(core, domain, message.authProviderUrl, "answer.auth_provider_url");
  const { authKeyPossession, serviceKeyPossession, authPublicKey, servicePublicKey } = message;
  const expected = { domain, appId, registryDomain };
  await checkPossession(authKeyPossession, "answer.auth_key_possession", authPublicKey, KeyRole.AUTH, expected);
  await checkPossession(
    serviceKeyPossession,
    "answer.service_key_possession",
    servicePublicKey,
    KeyRole.SERVICE,
    expected,
  );
}

/** Whoever announces a key that nobody holds locks the app's users out. */
async function checkPossession(
  possession: Statement | undefined,
  field: string,
  publicKey: Uint8Array,
  role: KeyRole,
  { domain, appId, registryDomain }: { domain: string; appId: string; registryDomain: string },
): Promise<void> {
  await checkAnswer(domain, async () => {
    if (possession === undefined) throw answerInvalid(domain, field, "no proof of possession");
    const opened = openRequest(KeyPossessionSchema, possession, { field });
    checkAudience(opened, registryDomain);
    const { message } = opened;
    const fits =
      message.appId === appId &&
      message.serviceId === AUTH_SERVICE_ID &&
      message.role === role &&
      equalBytes(message.publicKey, publicKey);
    if (!fits) throw answerInvalid(domain, field, "the proof of possession is of something else");
    await verifySignature(opened, publicKey);
  });
}
