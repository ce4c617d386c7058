import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import { type Service, ServiceStatus } from "../../gen/omi/registry/v1/service_pb.ts";
import { parseAppId } from "../core/app-id.ts";
import { isRefusal, Reason, Refusal } from "../core/refusal.ts";
import type { Views } from "../directory/views.ts";
import type { Standings } from "../tenancy/standings.ts";

/**
 * What the Auth Provider believes of the apps it serves, in words for users: they can do nothing about what exactly went
 * wrong between this provider and a registry.
 */
export class AppViews {
  readonly #views: Views;
  readonly #standings: Standings;

  constructor(views: Views, standings: Standings) {
    this.#views = views;
    this.#standings = standings;
  }

  /**
   * The app as it is now.
   *
   * @throws Refusal AUTH_MISSING if its registry doesn't know it (any more), VIEW_STALE or REGISTRY_UNAVAILABLE
   */
  app(appId: string): Promise<App> {
    return readApp(appId, this.#views.app(appId));
  }

  /** The app, if it is believed without waiting for anything; otherwise undefined, and {@link AppViews.app} tells why. */
  appNow(appId: string): App | undefined {
    return this.#views.appNow(appId);
  }

  /** True if {@link AppViews.requireActive} would pass without waiting for anything. */
  isActiveNow(appId: string, serviceId: string): boolean {
    if (this.#standings.status({ appId, serviceId }) === ServiceStatus.REVOKED) return false;
    return this.#views.serviceNow(appId, serviceId)?.status === ServiceStatus.ACTIVE;
  }

  /** As {@link AppViews.app}, but read anew unless that happened a moment ago. */
  refresh(appId: string): Promise<App> {
    return readApp(appId, this.#views.refresh(appId));
  }

  /**
   * Checks that tokens may be issued for a service.
   *
   * @throws Refusal SERVICE_UNKNOWN, SERVICE_SUSPENDED, SERVICE_REVOKED, VIEW_STALE or REGISTRY_UNAVAILABLE
   */
  async requireActive(appId: string, serviceId: string): Promise<void> {
    requireActive(await this.service(appId, serviceId));
  }

  /**
   * A service of the app as it is now.
   *
   * @throws Refusal SERVICE_UNKNOWN, SERVICE_REVOKED, VIEW_STALE or REGISTRY_UNAVAILABLE
   */
  async service(appId: string, serviceId: string): Promise<Service> {
    this.#requireNotRevoked(appId, serviceId);
    return readService(appId, this.#views.service(appId, serviceId));
  }

  /** As {@link AppViews.service}, but read anew unless that happened a moment ago. */
  async refreshService(appId: string, serviceId: string): Promise<Service> {
    this.#requireNotRevoked(appId, serviceId);
    return readService(appId, this.#views.refreshService(appId, serviceId));
  }

  /** The end of a service is for ever, so its event is enough, whatever can be read. */
  #requireNotRevoked(appId: string, serviceId: string): void {
    if (this.#standings.status({ appId, serviceId }) === ServiceStatus.REVOKED) throw revoked();
  }
}

/** @throws Refusal SERVICE_SUSPENDED or SERVICE_REVOKED */
export function requireActive({ status }: Service): void {
  if (status === ServiceStatus.ACTIVE) return;
  if (status === ServiceStatus.SUSPENDED) throw new Refusal(Reason.SERVICE_SUSPENDED, "the service is suspended");
  throw revoked();
}

function revoked(): Refusal {
  return new Refusal(Reason.SERVICE_REVOKED, "the service is no longer part of the app");
}

async function readApp(appId: string, view: Promise<App>): Promise<App> {
  try {
    return await view;
  } catch (error) {
    if (isRefusal(error, Reason.APP_UNKNOWN)) throw authMissing();
    throw viewFailure(error, appId);
  }
}

async function readService(appId: string, view: Promise<Service>): Promise<Service> {
  try {
    return await view;
  } catch (error) {
    if (isRefusal(error, Reason.SERVICE_UNKNOWN)) {
      throw new Refusal(Reason.SERVICE_UNKNOWN, "the app has no such service", { cause: error });
    }
    throw viewFailure(error, appId);
  }
}

/** The refusal if the app's keys are not announced, or no longer. */
export function authMissing(): Refusal {
  return new Refusal(Reason.AUTH_MISSING, "this provider is not the app's Auth Provider at the moment", {
    nextStep: "the app's developer announces the keys of this provider's answer",
  });
}

function viewFailure(error: unknown, appId: string): unknown {
  if (!(error instanceof Refusal) || error.reason === Reason.VIEW_STALE) return error;
  return new Refusal(Reason.REGISTRY_UNAVAILABLE, "the app's registry could not be asked", {
    metadata: { registry: parseAppId(appId)?.registryDomain ?? "" },
    cause: error,
  });
}
