import { toHex } from "./bytes.ts";
import { isDomain, MAX_DOMAIN_LENGTH } from "./domain.ts";
import { isName, isNamespace, MAX_NAME_LENGTH, MAX_NAMESPACE_LENGTH } from "./names.ts";

/** The parts of an AppID. */
export type AppId = {
  /** The domain of the App Registry that made the AppID, and that alone answers for it. */
  readonly registryDomain: string;
  /** The developer's namespace at that registry. */
  readonly namespace: string;
  /** The project's name in that namespace. */
  readonly slug: string;
  /** 6 lower-case hex digits of the manifest's hash. Tells apart, protects nothing. */
  readonly hash: string;
};

const HASH_LENGTH = 6;
const HASH = /^[0-9a-f]{6}$/;

/** The greatest length of an AppID, in characters. */
export const MAX_APP_ID_LENGTH = MAX_DOMAIN_LENGTH + 1 + MAX_NAMESPACE_LENGTH + 1 + MAX_NAME_LENGTH + 1 + HASH_LENGTH;

/**
 * Parses `<registry domain reversed>.<namespace>.<project_slug>.<hash>`. Read from the right, as only the domain has a
 * varying number of labels.
 *
 * @returns undefined if the text is no AppID
 */
export function parseAppId(text: string): AppId | undefined {
  if (text.length > MAX_APP_ID_LENGTH) return undefined;
  const labels = text.split(".");
  const hash = labels.pop();
  const slug = labels.pop();
  const namespace = labels.pop();
  if (hash === undefined || slug === undefined || namespace === undefined) return undefined;
  if (!HASH.test(hash) || !isName(slug) || !isNamespace(namespace)) return undefined;
  const registryDomain = labels.reverse().join(".");
  return isDomain(registryDomain) ? { registryDomain, namespace, slug, hash } : undefined;
}

/** The text of an AppID; {@link parseAppId} takes it back. */
export function formatAppId(appId: AppId): string {
  const reversed = appId.registryDomain.split(".").reverse().join(".");
  return `${reversed}.${appId.namespace}.${appId.slug}.${appId.hash}`;
}

/** The hash of an AppID: the first 6 hex digits of the SHA-256 digest of the manifest's signed data. */
export function appIdHash(manifestDigest: Uint8Array): string {
  return toHex(manifestDigest.subarray(0, HASH_LENGTH / 2));
}
