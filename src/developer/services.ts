import {
  ProvisionServiceSchema,
  type ServiceProvisioned,
  ServiceProvisionedSchema,
} from "../../gen/omi/agent/v1/agent_pb.ts";
import { AgentService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { type DirectoryEntry, Party } from "../../gen/omi/directory/v1/directory_pb.ts";
import { type Service, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { unixSeconds } from "../core/clock.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import { currentProviderKeyId } from "../directory/entry.ts";
import { type DeveloperCore, orderAt, readFresh, signAsMaster, verifyProviderAnswer } from "./core.ts";
import { checkOwnUrl, findProvider } from "./provider.ts";

/** What can be chosen of a service beside its type; what is left out is the provider's default. */
export type ServiceSettings = {
  /** The provider's name of a tier, e.g. `pro_cluster`. */
  readonly serviceTier?: string;
  /** The provider's name of a region, e.g. `eu-central-1`. */
  readonly region?: string;
  /** Storage limit in gigabytes (10^9 bytes). */
  readonly storageLimitGb?: number;
  /** Further settings by name. Not for secrets: the registry keeps them. */
  readonly parameters?: Readonly<Record<string, string>>;
};

/** A service to order. */
export type ServiceOrder = ServiceSettings & {
  readonly appId: string;
  /** The domain of the provider. */
  readonly provider: string;
  /** What is ordered, e.g. `cms-article`. */
  readonly serviceType: string;
  /** The ID that the service shall have; that of a suspended one restores it. The provider picks one if left out. */
  readonly serviceId?: string;
  /** For how long the order may be used for a binding, in seconds, at most 3,600, which it is if left out. */
  readonly lifetimeSeconds?: number;
};

const DEFAULT_LIFETIME_SECONDS = 3600;

/**
 * Orders a service: the provider makes a tenant, binds it at the app's registry and answers. The developer checks that the
 * answer is the provider's, and that the registry's record says the same.
 *
 * @param notBefore the order's timestamp is not before this, in Unix seconds: a suspended service is restored only by an
 *   order that is newer than its suspension, by the registry's clock
 * @returns the registry's record of the service
 */
export async function provisionService(core: DeveloperCore, order: ServiceOrder, notBefore = 0): Promise<Service> {
  const { appId, provider, serviceType, serviceId = "" } = order;
  const registry = core.connections.registries.forApp(appId);
  const entry = await findProvider(core, provider, Party.SERVICE_PROVIDER);
  const timestamp = Math.max(unixSeconds(core.clock), notBefore);
  const providerKeyId = currentProviderKeyId(entry, timestamp);
  if (providerKeyId === undefined) {
    throw new Refusal(Reason.PROVIDER_UNKNOWN, `${provider} has no valid key`, { metadata: { domain: provider } });
  }
  const message = {
    appId,
    targetProvider: provider,
    providerKeyId,
    serviceType,
    serviceTier: order.serviceTier ?? "",
    region: order.region ?? "",
    storageLimitGb: order.storageLimitGb ?? 0,
    parameters: sortedParameters(order.parameters ?? {}),
    serviceId,
    expiresAt: BigInt(timestamp + (order.lifetimeSeconds ?? DEFAULT_LIFETIME_SECONDS)),
  };
  const proof = signAsMaster(core, ProvisionServiceSchema, provider, message, timestamp);
  const { answer } = await orderAt(core, provider, AgentService, proof, (client, statement) =>
    client.provisionService({ statement }),
  );
  const { message: provisioned } = await verifyProviderAnswer(core, entry, ServiceProvisionedSchema, answer, proof);
  checkProvisioned(core, entry, order, provisioned);

  const { value: record } = await readFresh(core, registry, (options) =>
    registry.resolveService(appId, provisioned.serviceId, options),
  );
  checkRecord(entry, provisioned, record);
  return record;
}

/** The list as it must stand in an order: sorted by the bytes of the names, which are ASCII. */
function sortedParameters(parameters: Readonly<Record<string, string>>): { name: string; value: string }[] {
  const list = Object.entries(parameters).map(([name, value]) => ({ name, value }));
  return list.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function checkProvisioned(
  core: DeveloperCore,
  { domain }: DirectoryEntry,
  { appId, serviceType, serviceId }: ServiceOrder,
  provisioned: ServiceProvisioned,
): void {
  const fits = {
    "answer.app_id": provisioned.appId === appId,
    "answer.service_type": provisioned.serviceType === serviceType,
    "answer.service_id": serviceId === undefined || provisioned.serviceId === serviceId,
  };
  for (const [field, right] of Object.entries(fits)) {
    if (!right) throw answerInvalid(domain, field, "it is not what was ordered");
  }
  checkOwnUrl(core, domain, provisioned.endpointUrl, "answer.endpoint_url");
}

/** The registry decides who a service is; a provider that says otherwise has bound something else, or nothing. */
function checkRecord({ domain }: DirectoryEntry, provisioned: ServiceProvisioned, record: Service): void {
  const fits = {
    "answer.service_id": record.status === ServiceStatus.ACTIVE && record.provider === domain,
    "answer.service_type": record.serviceType === provisioned.serviceType,
    "answer.endpoint_url": record.endpointUrl === provisioned.endpointUrl,
    // In grace if the answer is one to a repeated order, and the key was rotated in between.
    "answer.public_key": record.keys.some(({ publicKey }) => equalBytes(publicKey, provisioned.publicKey)),
  };
  for (const [field, right] of Object.entries(fits)) {
    if (!right) throw answerInvalid(domain, field, "the registry's record of the service says otherwise");
  }
}
