import type { Message } from "@bufbuild/protobuf";
import { ProvisionServiceSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { KeyRole } from "../../gen/omi/key/v1/key_pb.ts";
import { AuthAnnouncementSchema } from "../../gen/omi/registry/v1/app_pb.ts";
import { NamespaceClaimSchema } from "../../gen/omi/registry/v1/namespace_pb.ts";
import { RegistryKeysSchema } from "../../gen/omi/registry/v1/registry_pb.ts";
import { KeyPossessionSchema, ServiceBindingSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import type { Connections } from "../directory/connections.ts";
import { providerKey } from "../directory/entry.ts";
import { decodeTolerant } from "../statement/canonical.ts";
import { keyIdOf } from "../statement/key-id.ts";
import { signersOf } from "../statement/signable.ts";
import type { Opened } from "../statement/statement.ts";
import { signedMessages } from "./contract.ts";

/** A key and why it is believed to be the signer's. */
export type SignerKey = { readonly publicKey: Uint8Array; readonly from: string };

/**
 * Finds the key that a Statement says it is signed with.
 *
 * @param outer the Statements that it is nested in, the outermost first
 * @returns undefined if nobody who could know the key does
 */
export type FindSignerKey = (opened: Opened, outer: readonly Opened[]) => Promise<SignerKey | undefined>;

/** Finds one key, given by whoever asks. */
export function givenKey(publicKey: Uint8Array): FindSignerKey {
  return async ({ header }) => (keyIdOf(publicKey) === header.signer ? { publicKey, from: "given" } : undefined);
}

// What such a statement says is that its signer holds the key that is in it.
const SELF_SIGNED: ReadonlySet<string> = new Set([
  NamespaceClaimSchema.typeName,
  KeyPossessionSchema.typeName,
  ServiceBindingSchema.typeName,
]);

/** Finds keys that Statements bring along to prove that they are held. Says nothing about whose they are. */
export const ownKey: FindSignerKey = async ({ message, type, header }) => {
  const { publicKey, keys } = message as Message & Facts;
  if (SELF_SIGNED.has(type) && publicKey !== undefined && keyIdOf(publicKey) === header.signer) {
    return { publicKey, from: "the statement itself" };
  }
  const inSet =
    type === RegistryKeysSchema.typeName ? keys?.find((key) => keyIdOf(key.publicKey) === header.signer) : undefined;
  return inSet && { publicKey: inSet.publicKey, from: "the key set itself" };
};

/**
 * Asks the mesh: registries for Master, Service and Auth keys and their own, the directory for Provider keys.
 *
 * @param domain the party that signed, where a Statement does not say which registry or provider that is
 */
export function keyOfMesh({ registries, directory }: Connections, domain?: string): FindSignerKey {
  async function masterKey({ message, header }: Opened): Promise<SignerKey | undefined> {
    const { appId, ownerNamespace } = message as Message & Facts;
    if (appId !== undefined) {
      const { value } = await registries.forApp(appId).resolveApp(appId);
      return matching(header.signer, [value.masterPublicKey], "the app's Master key at the registry");
    }
    if (ownerNamespace === undefined || !("audience" in header)) return undefined;
    const { value } = await registries.forDomain(header.audience).resolveNamespace(ownerNamespace);
    return matching(header.signer, [value.masterPublicKey], "the namespace's Master key at the registry");
  }

  async function serviceKey({ message, header }: Opened): Promise<SignerKey | undefined> {
    const { appId, serviceId } = message as Message & Facts;
    if (appId === undefined || serviceId === undefined) return undefined;
    const { value } = await registries.forApp(appId).resolveService(appId, serviceId);
    const keys = value.keys.map(({ publicKey }) => publicKey);
    return matching(header.signer, keys, "the service's keys at the registry");
  }

  async function providersKey(opened: Opened, outer: readonly Opened[]): Promise<SignerKey | undefined> {
    const provider = domain ?? providerIn(outer) ?? (await providerAtRegistry(opened));
    if (provider === undefined) return undefined;
    const publicKey = providerKey(await directory.lookup(provider), opened.header.signer, timeOf(opened));
    return publicKey && { publicKey, from: `the directory entry of ${provider}` };
  }

  async function providerAtRegistry({ message }: Opened): Promise<string | undefined> {
    const { appId, serviceId } = message as Message & Facts;
    if (appId === undefined) return undefined;
    const registry = registries.forApp(appId);
    if (serviceId !== undefined) return (await registry.resolveService(appId, serviceId)).value.provider;
    return (await registry.resolveApp(appId)).value.context?.authProvider;
  }

  async function registryKey(opened: Opened): Promise<SignerKey | undefined> {
    const registry = domain ?? registryIn(opened.message);
    if (registry === undefined) return undefined;
    const publicKey = await registries.forDomain(registry).keyAt(opened.header.signer, timeOf(opened));
    return publicKey && { publicKey, from: `the keys of the registry ${registry}` };
  }

  return async (opened, outer) => {
    const schema = signedMessages.getMessage(opened.type);
    const roles = schema === undefined ? [] : signersOf(schema);
    if (roles.includes(KeyRole.MASTER)) return masterKey(opened);
    if (roles.includes(KeyRole.PROVIDER)) return providersKey(opened, outer);
    if (roles.includes(KeyRole.REGISTRY)) return registryKey(opened);
    return serviceKey(opened);
  };
}

/** The first key that any of the ways finds. */
export function firstOf(...ways: readonly FindSignerKey[]): FindSignerKey {
  return async (opened, outer) => {
    for (const find of ways) {
      const found = await find(opened, outer);
      if (found !== undefined) return found;
    }
    return undefined;
  };
}

/** The fields by which messages of the contract say what they are about, under the same names throughout. */
type Facts = {
  readonly appId?: string;
  readonly serviceId?: string;
  readonly ownerNamespace?: string;
  readonly publicKey?: Uint8Array;
  readonly keys?: readonly { readonly publicKey: Uint8Array }[];
  readonly domain?: string;
  readonly origin?: string;
  readonly app?: { readonly appId: string };
  readonly service?: { readonly appId: string };
  readonly authProvider?: string;
  readonly developerProof?: Statement;
};

function matching(keyId: string, keys: readonly Uint8Array[], from: string): SignerKey | undefined {
  const publicKey = keys.find((key) => keyIdOf(key) === keyId);
  return publicKey && { publicKey, from };
}

function timeOf({ header }: Opened): number {
  return Number("audience" in header ? header.timestamp : header.issuedAt);
}

/** The provider that the Statement around an endorsement or an answer names. */
function providerIn(outer: readonly Opened[]): string | undefined {
  const { message, type } = outer.at(-1) ?? {};
  if (message === undefined) return undefined;
  const { authProvider, developerProof } = message as Message & Facts;
  if (type === AuthAnnouncementSchema.typeName) return authProvider;
  if (developerProof === undefined) return undefined;
  return decodeTolerant(ProvisionServiceSchema, developerProof.data, "developer_proof").targetProvider;
}

function registryIn(message: Message): string | undefined {
  const { domain, origin, appId, app, service } = message as Message & Facts;
  return domain ?? origin ?? parseAppId(appId ?? app?.appId ?? service?.appId ?? "")?.registryDomain;
}
