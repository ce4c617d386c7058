import type { App } from "../../gen/omi/registry/v1/app_pb.ts";
import type { Service } from "../../gen/omi/registry/v1/service_pb.ts";
import type { Clock } from "../core/clock.ts";
import { LruCache } from "../core/lru-cache.ts";
import type { Registries } from "./registries.ts";
import type { Verified } from "./verified.ts";
import { type Reading, View } from "./view.ts";

/**
 * What this party believes of apps and services right now, for decisions that grant something: never older than a bound.
 * Either it was read fresh from the registry within that time; or, for an app whose events this party listens to, a signed
 * head of that time says that the app has not changed since it was read.
 *
 * What was read before a change of the app that this party knows of, be it by an event or by an answer to a call of its
 * own, is never believed.
 *
 * Methods throw what the registry refused (e.g. APP_UNKNOWN), or REGISTRY_UNAVAILABLE or ANSWER_INVALID, if nothing was
 * ever known; VIEW_STALE {age_seconds} if what is known has become too old to go by and nothing newer can be had; for an
 * app that is listened to, also REGISTRY_ROLLED_BACK {registry}.
 */
export interface Views {
  /** The app. */
  app(appId: string): Promise<App>;
  /** One service of the app. */
  service(appId: string, serviceId: string): Promise<Service>;
  /** The app, if it is believed without waiting for anything; otherwise undefined, and {@link app} tells why. */
  appNow(appId: string): App | undefined;
  /** One service of the app, as {@link appNow}. */
  serviceNow(appId: string, serviceId: string): Service | undefined;
  /**
   * A number that grows whenever the app or the service has been read anew, so that what was concluded from both holds as
   * long as it stays the same; undefined if one of them is not believed without waiting for something.
   */
  revision(appId: string, serviceId: string): number | undefined;
  /** The app, read anew unless that happened within the last second: for when something unknown turns up, such as a key. */
  refresh(appId: string): Promise<App>;
  /** One service of the app, read anew unless that happened within the last second. */
  refreshService(appId: string, serviceId: string): Promise<Service>;
  /** Drops what is known of an app and its services, e.g. because an event says that it changed. */
  forget(appId: string): void;
  /** From now on goes by what this party hears of the apps that it listens to. */
  follow(apps: FollowedApps): void;
}

/** What a party that listens to events knows of the apps it listens to. */
export interface FollowedApps {
  /** True if it listens to the app. */
  follows(appId: string): boolean;
  /** The sequence of the last event of the app that it has; 0 if it has none. */
  appliedSequence(appId: string): bigint;
  /** As {@link currentSequence}, if it is sure of that without asking; otherwise undefined. */
  sequenceNow(appId: string): bigint | undefined;
  /**
   * The same, once it is sure that there are no more, by a signed head that is not too old; asks for one if need be.
   *
   * @throws Refusal REGISTRY_UNAVAILABLE {registry} if there never was one; VIEW_STALE {age_seconds} or
   *   REGISTRY_ROLLED_BACK {registry}
   */
  currentSequence(appId: string): Promise<bigint>;
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

/**
 * Makes views. One that no head confirms is read anew in the background when it is past half its age, so that busy callers
 * never wait.
 */
export function createViews(options: ViewsOptions): Views {
  const { registries, clock, maxAgeSeconds = DEFAULT_MAX_AGE_SECONDS, capacity = DEFAULT_CAPACITY } = options;
  const maxAgeMs = maxAgeSeconds * 1000;
  const views = new LruCache<string, AppViews>(capacity);
  let followed: FollowedApps | undefined;

  function viewsOf(appId: string): AppViews {
    return views.get(appId) ?? startViews(appId);
  }

  function viewOf<T>(appId: string, read: () => Promise<Verified<T>>): View<T> {
    const registry = registries.forApp(appId);
    return new View({
      read: async () => readingOf(await read()),
      minSequence: () => greater(registry.sequenceSeen(appId), followed?.appliedSequence(appId) ?? 0n),
      clock,
      maxAgeMs,
    });
  }

  /** What is being read for the views that these replace ends in them, and is seen by those alone who wait for it. */
  function startViews(appId: string): AppViews {
    const started: AppViews = {
      app: viewOf(appId, () => registries.forApp(appId).resolveApp(appId, { fresh: true })),
      services: new LruCache<string, View<Service>>(MAX_SERVICES_OF_AN_APP),
    };
    views.set(appId, started);
    return started;
  }

  function serviceViewOf(appId: string, serviceId: string): View<Service> {
    const { services } = viewsOf(appId);
    let view = services.get(serviceId);
    if (view === undefined) {
      view = viewOf(appId, () => registries.forApp(appId).resolveService(appId, serviceId, { fresh: true }));
      services.set(serviceId, view);
    }
    return view;
  }

  /** Gets a view at the sequence that the app has now. Nearly always that is known, and nothing has to be waited for. */
  function atCurrent<T>(appId: string, get: (confirmed: bigint | undefined) => Promise<T>): Promise<T> {
    try {
      if (followed?.follows(appId) !== true) return get(undefined);
      const now = followed.sequenceNow(appId);
      return now === undefined ? followed.currentSequence(appId).then(get) : get(now);
    } catch (error) {
      return Promise.reject(error); // the AppID is none
    }
  }

  /** As {@link atCurrent}, if nothing has to be waited for. */
  function atOnce<T>(appId: string, get: (known: AppViews, confirmed: bigint | undefined) => T): T | undefined {
    const follows = followed?.follows(appId) === true;
    const now = follows ? followed?.sequenceNow(appId) : undefined;
    if (follows && now === undefined) return undefined;
    const known = views.get(appId);
    return known && get(known, now);
  }

  return {
    appNow: (appId) => atOnce(appId, ({ app }, confirmed) => app.now(confirmed)?.value),
    serviceNow: (appId, serviceId) =>
      atOnce(appId, ({ services }, confirmed) => services.get(serviceId)?.now(confirmed)?.value),
    revision: (appId, serviceId) =>
      atOnce(appId, ({ app, services }, confirmed) => {
        const knownApp = app.now(confirmed);
        const knownService = services.get(serviceId)?.now(confirmed);
        // Neither number ever falls, so their sum tells if one has changed.
        return knownApp && knownService && knownApp.number + knownService.number;
      }),
    app: (appId) => atCurrent(appId, (confirmed) => viewsOf(appId).app.get(confirmed)),
    service: (appId, serviceId) => atCurrent(appId, (confirmed) => serviceViewOf(appId, serviceId).get(confirmed)),
    refresh: (appId) => atCurrent(appId, (confirmed) => viewsOf(appId).app.refresh(confirmed)),
    refreshService: (appId, serviceId) =>
      atCurrent(appId, (confirmed) => serviceViewOf(appId, serviceId).refresh(confirmed)),
    forget: (appId) => void startViews(appId),
    follow(apps) {
      followed = apps;
    },
  };
}

function readingOf<T>({ value, header }: Verified<T>): Reading<T> {
  return { value, sequence: header.appSequence };
}

function greater(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
