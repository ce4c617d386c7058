import type { ListEventsRequest } from "../../../gen/omi/event/v1/event_service_pb.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { RegistryCore } from "../core.ts";
import { decodeStatement } from "../keyring.ts";
import { requireApp } from "../rules/authority.ts";

const defaultPageSize = 100;

/** Lists the events of one app after a sequence. */
export function listEvents(core: RegistryCore, request: ListEventsRequest) {
  const app = requireApp(core.store.appState(request.appId));
  const after = sequenceUpTo(request.afterSequence, app.sequence, "after_sequence");
  const events = core.log.eventsOfApp(request.appId, after, request.pageSize || defaultPageSize);
  return { events: events.map((event) => decodeStatement(event.statement)) };
}

/**
 * A cursor that may not be ahead of the head.
 *
 * @throws Refusal CURSOR_INVALID
 */
export function sequenceUpTo(cursor: bigint, head: number, field: string): number {
  if (cursor <= BigInt(head)) return Number(cursor);
  throw new Refusal(Reason.CURSOR_INVALID, `${field} is ahead of the head, which is ${head}`, {
    metadata: { field },
    nextStep: "if this cursor came from here, the registry was rolled back: trust nothing newer and tell its operator",
  });
}
