import { RotateServiceKeySchema, ServiceKeyRotatedSchema } from "../../gen/omi/agent/v1/agent_pb.ts";
import { TenancyService } from "../../gen/omi/agent/v1/agent_service_pb.ts";
import { type App, KeyStatus } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceStatus, SuspendSchema } from "../../gen/omi/registry/v1/service_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import { answerInvalid } from "../directory/answer-invalid.ts";
import { provisionAuth } from "./auth-provider.ts";
import { type DeveloperCore, orderAt, readFresh, signAsMaster, verifyProviderAnswer, writeAt } from "./core.ts";
import { provisionService, type ServiceSettings } from "./services.ts";
import type { ServiceRef } from "./termination.ts";

/** A key to rotate. */
export type RotationOrder = ServiceRef & {
  /** How long the old key stays in grace, in seconds. The registry's default if left out. */
  readonly graceSeconds?: number;
  /** True: no grace at all; every earlier key stops at once. */
  readonly immediate?: boolean;
};

/**
 * Has a provider rotate a service's key. The new key never leaves the provider; that it counts shows in the registry's
 * record.
 *
 * @returns the registry's record of the service
 */
export async function rotateServiceKey(core: DeveloperCore, order: RotationOrder): Promise<Service> {
  const { appId, serviceId } = order;
  const { provider } = await recordOf(core, order);
  const entry = await core.connections.directory.lookup(provider);
  const statement = signAsMaster(core, RotateServiceKeySchema, provider, {
    appId,
    serviceId,
    gracePeriodSeconds: order.graceSeconds ?? 0,
    immediate: order.immediate ?? false,
  });
  const { answer } = await orderAt(core, provider, TenancyService, statement, (client, request) =>
    client.rotateServiceKey({ statement: request }),
  );
  const { message } = await verifyProviderAnswer(core, entry, ServiceKeyRotatedSchema, answer, statement);
  if (message.appId !== appId || message.serviceId !== serviceId) {
    throw answerInvalid(provider, "answer.service_id", "it is about another service");
  }
  const record = await recordOf(core, order);
  const active = record.keys.find(({ status }) => status === KeyStatus.ACTIVE);
  if (active === undefined || !equalBytes(active.publicKey, message.publicKey)) {
    throw answerInvalid(provider, "answer.public_key", "the registry's record of the service has another key");
  }
  return record;
}

/** Stops all keys of a service at once, without asking it. */
export async function suspendService(core: DeveloperCore, { appId, serviceId }: ServiceRef): Promise<Service> {
  const registry = core.connections.registries.forApp(appId);
  const statement = signAsMaster(core, SuspendSchema, registry.domain, { appId, serviceId });
  return (await writeAt(core, registry, statement, (suspension) => registry.suspendService(suspension))).value;
}

/**
 * Takes a service out of whoever's hands its key is in: stops all its keys at once, then has the same provider make a fresh
 * one. Broken off in between, it is done again; a service that is suspended already is only restored. For the Auth Provider
 * (`auth`) that means new keys and a new announcement.
 *
 * @returns the registry's record of the service, and for `auth` that of the app
 */
export async function masterReset(
  core: DeveloperCore,
  order: ServiceRef & ServiceSettings,
): Promise<{ readonly service: Service; readonly app?: App }> {
  const { appId, serviceId, ...settings } = order;
  const record = await recordOf(core, order);
  const suspended = record.status === ServiceStatus.SUSPENDED ? record : await suspendService(core, order);
  const { provider, serviceType } = suspended;
  if (serviceId === AUTH_SERVICE_ID) {
    const app = await provisionAuth(core, { appId, provider });
    return { app, service: await recordOf(core, order) };
  }
  const restoration = { ...settings, appId, provider, serviceType, serviceId };
  return { service: await provisionService(core, restoration, Number(suspended.updatedAt) + 1) };
}

async function recordOf(core: DeveloperCore, { appId, serviceId }: ServiceRef): Promise<Service> {
  const registry = core.connections.registries.forApp(appId);
  return (await readFresh(core, registry, (options) => registry.resolveService(appId, serviceId, options))).value;
}
