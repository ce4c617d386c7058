import { AuthProvisionedSchema } from "../../../gen/omi/auth/v1/auth_pb.ts";
import { KeyRole } from "../../../gen/omi/key/v1/key_pb.ts";
import { type AuthAnnouncement, AuthAnnouncementSchema } from "../../../gen/omi/registry/v1/app_pb.ts";
import type { AnnounceAuthRequest } from "../../../gen/omi/registry/v1/registry_service_pb.ts";
import { isAtOrBelow } from "../../core/domain.ts";
import { AUTH_SERVICE_ID } from "../../core/names.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { parseUrl } from "../../core/url.ts";
import { checkBounds } from "../../statement/bounds.ts";
import { openAnswer, verifySignature } from "../../statement/statement.ts";
import { accept } from "../accept.ts";
import { appAnswer } from "../answers.ts";
import type { RegistryCore } from "../core.ts";
import { lookUpProvider, requirePresent, verifyPossession } from "../nested.ts";
import { decideAuthAnnouncement, requireSameAsAnswer } from "../rules/auth.ts";
import { registeredSigner } from "../signers.ts";
import { KeyState } from "../store.ts";

/** Announces an app's Auth Provider. */
export async function announceAuth(core: RegistryCore, request: AnnounceAuthRequest) {
  const { id, message } = await accept(core, requirePresent(request.statement, "statement"), {
    name: "announce-auth",
    schema: AuthAnnouncementSchema,
    private: true,
    signerKey: (opened) => registeredSigner(core, opened, AuthAnnouncementSchema).publicKey,
    verifyNested: ({ message }, now) => verifyProviderAnswer(core, message, now),
    decide({ message, header }, provider, now) {
      const authKeys = core.store.keysOfService(message.appId, AUTH_SERVICE_ID, KeyRole.AUTH, now);
      const facts = {
        app: core.store.app(message.appId),
        activeAuthKey: authKeys.find((key) => key.state === KeyState.ACTIVE),
        authKeyUsed: core.store.keyUsed(message.authPublicKey),
        serviceKeyUsed: core.store.keyUsed(message.servicePublicKey),
        provider,
      };
      return decideAuthAnnouncement(facts, message, header.signer, core.policy, now);
    },
  });
  return { answer: appAnswer(core, message.appId, id) };
}

/** The provider, known from the directory, answered for this app with these keys, and holds both. */
async function verifyProviderAnswer(core: RegistryCore, announcement: AuthAnnouncement, now: number) {
  const { appId, authProvider, authPublicKey, servicePublicKey } = announcement;
  checkProviderUrl(core, announcement.authProviderUrl, "auth_provider_url", authProvider);

  const field = "provider_answer";
  const opened = openAnswer(AuthProvisionedSchema, requirePresent(announcement.providerAnswer, field), { field });
  checkBounds(AuthProvisionedSchema, opened.message, { field, allowPlainHttp: core.allowPlainHttp });
  const provider = await lookUpProvider(core, authProvider, opened.header.signer, now);
  await verifySignature(opened, provider.publicKey);
  requireSameAsAnswer(announcement, opened.message);

  const possession = { appId, serviceId: AUTH_SERVICE_ID, previousKeyId: "" };
  const { authKeyPossession, serviceKeyPossession } = opened.message;
  await Promise.all([
    verifyPossession(
      core,
      authKeyPossession,
      `${field}.auth_key_possession`,
      { ...possession, role: KeyRole.AUTH, publicKey: authPublicKey },
      now,
    ),
    verifyPossession(
      core,
      serviceKeyPossession,
      `${field}.service_key_possession`,
      { ...possession, role: KeyRole.SERVICE, publicKey: servicePublicKey },
      now,
    ),
  ]);
  return provider;
}

/**
 * A URL that a provider may use: at or below its own domain.
 *
 * @throws Refusal ENDPOINT_NOT_ALLOWED
 */
export function checkProviderUrl(core: RegistryCore, url: string, field: string, domain: string): void {
  const parsed = parseUrl(url, core.allowPlainHttp);
  if (parsed !== undefined && isAtOrBelow(parsed.host, domain)) return;
  throw new Refusal(Reason.ENDPOINT_NOT_ALLOWED, `${field} must be at or below ${domain}`, {
    metadata: { field, expected: domain },
  });
}
