import { type Event, EventType } from "../../gen/omi/event/v1/event_pb.ts";
import type { Accounts } from "./accounts.ts";

/**
 * What an event of an app does to its accounts: the unbinding of a service closes its account at the time at which the
 * registry committed it, and the bill is final. Everything else leaves accounts as they are; a suspended service's stays
 * open, as the service may come back.
 *
 * Belongs into the transaction that moves the subscriber's cursor.
 */
export function applyEvent(accounts: Accounts, { event, appId, serviceId, header }: Event): void {
  if (event === EventType.PURGE && header !== undefined) accounts.close({ appId, serviceId }, header.issuedAt);
}
