import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Service } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Clock } from "../core/clock.ts";
import { LruCache } from "../statement/lru-cache.ts";
import type { Registries } from "./registries.ts";
import { View } from "./view.ts";

/**
 * What this party believes of apps and services right now, for decisions that grant something: never older than a bound,
 * and read fresh from the registry.
 *
 * Methods throw what the registry refused (e.g. APP_UNKNOWN), or REGISTRY_UNAVAILABLE or ANSWER_INVALID, if nothing was
 * ever known; VIEW_STALE {age_seconds} if what is known has become too old to go by and nothing newer can be had.
 */
export interface Views {
  /** The app. */
  app(appId: string): Promise<App>;
  /** One service of the app. */
  service(appId: string, serviceId: string): Promise<Service>;
  /** The app, read anew unless that happened within the last second: for when something unknown turns up, such as a key. */
  refresh(appId: string): Promise<App>;
  /** The service, read anew unless that happened within the last second. */
  refreshService(appId: string, serviceId: string): Promise<Service>;
  /** Drops what is known of an app and its services, e.g. because an event says that it changed. */
  forget(appId: string): void;
}

/** What {@link createViews} needs. */
export type ViewsOptions = {
  readonly registries: Registries;
  readonly clock: Clock;
  /** How old a view may be, in seconds. */
  readonly maxAgeSeconds?: number;
  /** How many apps are remembered. */
  readonly capacity?: number;
};

const DEFAULT_MAX_AGE_SECONDS = 10;
const DEFAULT_CAPACITY = 10_000;
const MAX_SERVICES_OF_AN_APP = 100;

type AppViews = { readonly app: View<App>; readonly services: LruCache<string, View<Service>> };

/** Makes views. One that is past half its age is read anew in the background, so that busy callers never wait. */
export function createViews(options: ViewsOptions): Views {
  const { registries, clock, maxAgeSeconds = DEFAULT_MAX_AGE_SECONDS, capacity = DEFAULT_CAPACITY } = options;
  const maxAgeMs = maxAgeSeconds * 1000;
  const views = new LruCache<string, AppViews>(capacity);

  function viewsOf(appId: string): AppViews {
    return views.get(appId) ?? startViews(appId);
  }

  /** What is being read for the views that these replace ends in them, and is seen by those alone who wait for it. */
  function startViews(appId: string): AppViews {
    const read = async () => (await registries.forApp(appId).resolveApp(appId, { fresh: true })).value;
    const started: AppViews = {
      app: new View(read, clock, maxAgeMs),
      services: new LruCache<string, View<Service>>(MAX_SERVICES_OF_AN_APP),
    };
    views.set(appId, started);
    return started;
  }

  function serviceViewOf(appId: string, serviceId: string): View<Service> {
    const { services } = viewsOf(appId);
    let view = services.get(serviceId);
    if (view === undefined) {
      const read = async () => (await registries.forApp(appId).resolveService(appId, serviceId, { fresh: true })).value;
      view = new View(read, clock, maxAgeMs);
      services.set(serviceId, view);
    }
    return view;
  }

  return {
    app: async (appId) => viewsOf(appId).app.get(),
    service: async (appId, serviceId) => serviceViewOf(appId, serviceId).get(),
    refresh: async (appId) => viewsOf(appId).app.refresh(),
    refreshService: async (appId, serviceId) => serviceViewOf(appId, serviceId).refresh(),
    forget: (appId) => void startViews(appId),
  };
}
