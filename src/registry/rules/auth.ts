import { create } from "@bufbuild/protobuf";
import type { AuthProvisioned } from "../../../gen/omi/auth/v1/auth_pb.ts";
import type { AuthAnnouncement } from "../../../gen/omi/registry/v1/app_pb.ts";
import { type AuthAnnounced, AuthAnnouncedSchema } from "../../../gen/omi/registry/v1/log_pb.ts";
import { equalBytes } from "../../core/bytes.ts";
import type { AppRow, ServiceKeyRow } from "../store.ts";
import { nextEpoch } from "./app.ts";
import { requireApp, requireMaster, requireSame, requireUnusedKey } from "./authority.ts";
import type { RegistryPolicy } from "./policy.ts";

/**
 * Decides an announcement whose nested statements verified: the provider answered for this app with these keys, and holds
 * both. What was true of the previous Auth key is kept only as long as tokens signed with it may live.
 *
 * @param now registry time, Unix seconds
 */
export function decideAuthAnnouncement(
  facts: {
    app: AppRow | undefined;
    /** The Auth key in force, if any. */
    activeAuthKey: ServiceKeyRow | undefined;
    authKeyUsed: boolean;
    serviceKeyUsed: boolean;
    /** The provider that answered: the key that it signed with, and where its RPCs are served by its directory entry. */
    provider: { publicKey: Uint8Array; baseUrl: string };
  },
  announcement: AuthAnnouncement,
  signer: string,
  policy: RegistryPolicy,
  now: number,
): AuthAnnounced {
  const app = requireApp(facts.app);
  requireMaster(app, signer);
  const configEpoch = nextEpoch(app, announcement.expectedConfigEpoch);
  const { authPublicKey, servicePublicKey } = announcement;
  const { provider } = facts;
  requireUnusedKey(facts.authKeyUsed || equalBytes(authPublicKey, provider.publicKey), "auth_public_key");
  requireUnusedKey(
    facts.serviceKeyUsed || [authPublicKey, provider.publicKey].some((key) => equalBytes(servicePublicKey, key)),
    "service_public_key",
  );
  const previous = facts.activeAuthKey;
  const keepSeconds =
    previous === undefined
      ? 0
      : app.authProvider === announcement.authProvider
        ? policy.maxTokenLifeSeconds
        : announcement.keepPreviousAuthKeySeconds;
  return create(AuthAnnouncedSchema, {
    appId: app.appId,
    configEpoch,
    authProvider: announcement.authProvider,
    authProviderUrl: announcement.authProviderUrl,
    endpointUrl: provider.baseUrl,
    authPublicKey: announcement.authPublicKey,
    servicePublicKey: announcement.servicePublicKey,
    previousAuthPublicKey: previous?.publicKey ?? new Uint8Array(),
    previousAuthKeyNotAfter: keepSeconds === 0 ? 0n : BigInt(now + keepSeconds),
  });
}

/** The announcement must repeat what the provider answered. */
export function requireSameAsAnswer(announcement: AuthAnnouncement, answer: AuthProvisioned): void {
  const field = (name: string) => `provider_answer.${name}`;
  requireSame(answer.appId === announcement.appId, field("app_id"), "app_id");
  requireSame(
    equalBytes(answer.authPublicKey, announcement.authPublicKey),
    field("auth_public_key"),
    "auth_public_key",
  );
  requireSame(
    equalBytes(answer.servicePublicKey, announcement.servicePublicKey),
    field("service_public_key"),
    "service_public_key",
  );
  requireSame(answer.authProviderUrl === announcement.authProviderUrl, field("auth_provider_url"), "auth_provider_url");
}
