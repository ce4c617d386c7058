import { ServiceStatus, ServiceStatusSchema } from "../../../gen/omi/registry/v1/service_pb.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { AUTH_SERVICE_ID } from "../../../src/core/names.ts";
import type { Effect } from "../../../src/registry/effects.ts";
import type { RegistryFacts } from "./registry-facts.ts";

/** What the log says of one service. Keys are hexadecimal digits. */
export interface ServiceHistory {
  readonly appId: string;
  readonly serviceId: string;
  status: ServiceStatus;
  /** The active Service key; empty if there is none. */
  key: string;
  /** Of the record `auth`: the active Auth key; empty if there is none. */
  authKey: string;
  /** All Service keys that it ever had, in order. */
  readonly keys: string[];
  bound: number;
  rotated: number;
  suspended: number;
}

/**
 * Follows all services through the log, by rules of its own.
 *
 * @returns the services by `app_id/service_id`, and each step that builds on another state than the one before left
 */
export function followServices({ log }: RegistryFacts): {
  histories: ReadonlyMap<string, ServiceHistory>;
  problems: string[];
} {
  const histories = new Map<string, ServiceHistory>();
  const problems: string[] = [];
  for (const { index, effect } of log) {
    const serviceId = serviceOf(effect);
    if (serviceId === undefined || !("appId" in effect)) continue;
    const name = `${effect.appId}/${serviceId}`;
    const history = histories.get(name) ?? newHistory(effect.appId, serviceId);
    histories.set(name, history);
    const problem = follow(history, effect);
    if (problem !== undefined) problems.push(`log entry ${index}, ${name}: ${problem}`);
  }
  return { histories, problems };
}

function serviceOf(effect: Effect): string | undefined {
  if (effect.$typeName === "omi.registry.v1.AuthAnnounced") return AUTH_SERVICE_ID;
  return "serviceId" in effect ? effect.serviceId : undefined;
}

function newHistory(appId: string, serviceId: string): ServiceHistory {
  const status = ServiceStatus.UNSPECIFIED;
  return { appId, serviceId, status, key: "", authKey: "", keys: [], bound: 0, rotated: 0, suspended: 0 };
}

function follow(history: ServiceHistory, effect: Effect): string | undefined {
  const before = { ...history };
  switch (effect.$typeName) {
    case "omi.registry.v1.AuthAnnounced":
      history.bound++;
      history.status = ServiceStatus.ACTIVE;
      history.authKey = toHex(effect.authPublicKey);
      return take(history, effect.servicePublicKey);
    case "omi.registry.v1.ServiceBound": {
      history.bound++;
      history.status = ServiceStatus.ACTIVE;
      const expected = effect.restored ? ServiceStatus.SUSPENDED : ServiceStatus.UNSPECIFIED;
      if (before.status !== expected) return `bound while ${statusName(before.status)}`;
      return take(history, effect.publicKey);
    }
    case "omi.registry.v1.KeyRotated":
      history.rotated++;
      if (before.status !== ServiceStatus.ACTIVE) return `rotated while ${statusName(before.status)}`;
      if (toHex(effect.oldPublicKey) !== before.key) return "rotated from another key than the active one";
      return take(history, effect.newPublicKey);
    case "omi.registry.v1.ServiceSuspended":
      history.suspended++;
      history.status = ServiceStatus.SUSPENDED;
      Object.assign(history, { key: "", authKey: "" });
      return toHex(effect.oldPublicKey) === before.key ? undefined : "suspended with another key than the active one";
    case "omi.registry.v1.ServiceUnbound":
      history.status = ServiceStatus.REVOKED;
      Object.assign(history, { key: "", authKey: "" });
      if (before.status === ServiceStatus.REVOKED) return "unbound twice";
      return toHex(effect.oldPublicKey) === before.key ? undefined : "unbound with another key than the active one";
    default:
      return undefined;
  }
}

function take(history: ServiceHistory, publicKey: Uint8Array): string | undefined {
  const key = toHex(publicKey);
  const isOld = history.keys.includes(key);
  history.key = key;
  history.keys.push(key);
  return isOld ? "a key came back" : undefined;
}

/** The name of a status, e.g. `ACTIVE`. */
export function statusName(status: ServiceStatus): string {
  return ServiceStatusSchema.value[status]?.localName ?? String(status);
}
