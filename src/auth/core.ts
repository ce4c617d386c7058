import type { Clock } from "../core/clock.ts";
import { AUTH_SERVICE_ID } from "../core/names.ts";
import type { Random } from "../core/random.ts";
import type { WatchHub } from "../events/watch-hub.ts";
import type { WriteQueue } from "../store/write-queue.ts";
import type { ServiceCallers } from "../tenancy/service-callers.ts";
import type { Tenancy } from "../tenancy/tenancy.ts";
import type { TenantId } from "../tenancy/tenants.ts";
import type { AppViews } from "./app-views.ts";
import type { Attempts } from "./attempts.ts";
import type { Issuer } from "./issuer.ts";
import type { KeyPairs } from "./key-pairs.ts";
import type { AuthOrders } from "./orders.ts";
import type { Passwords } from "./passwords.ts";
import type { SessionEvents } from "./session-events.ts";
import type { Sessions } from "./sessions.ts";
import type { TokenIssuer } from "./token-issuer.ts";
import type { Users } from "./users.ts";

/** Everything that the Auth Provider's RPCs work with. */
export type AuthCore = {
  readonly clock: Clock;
  readonly random: Random;
  readonly writes: WriteQueue;
  readonly tenancy: Tenancy;
  readonly orders: AuthOrders;
  readonly issuer: Issuer;
  readonly pairs: KeyPairs;
  readonly users: Users;
  readonly sessions: Sessions;
  readonly sessionEvents: SessionEvents;
  /** Wakes those who listen to session events. */
  readonly sessionHub: WatchHub;
  readonly passwords: Passwords;
  readonly attempts: Attempts;
  readonly tokens: TokenIssuer;
  readonly views: AppViews;
  readonly callers: ServiceCallers;
  /** Begins to listen to the events of a new tenant's app. */
  readonly listen: (appId: string) => void;
  /** Whether strangers may make accounts. */
  readonly signUp: "open" | "closed";
};

/** The tenant of an app: an Auth Provider has one for each, in the service record `auth`. */
export function tenantOf(appId: string): TenantId {
  return { appId, serviceId: AUTH_SERVICE_ID };
}
