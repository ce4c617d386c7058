import { toBinary } from "@bufbuild/protobuf";
import { StatementSchema } from "../../gen/omi/statement/v1/statement_pb.ts";
import { unixSeconds } from "../core/clock.ts";
import type { OutboxSource } from "../events/outbox-source.ts";
import type { OutboxEvent } from "../events/publisher.ts";
import type { SigningKey } from "../statement/crypto.ts";
import { type AuthCore, tenantOf } from "./core.ts";
import type { SessionEvent } from "./session-events.ts";
import { signSessionEvent } from "./session-statements.ts";

/**
 * The ends of sessions that still say something, each signed as it is read with the Service key that its tenant has then: who
 * listens verifies with the keys of that moment. An event that was sent before a rotation and is sent again after it is
 * another Statement about the same thing.
 */
export function sessionOutboxSource({
  sessionEvents,
  tenancy,
  clock,
}: Pick<AuthCore, "sessionEvents" | "tenancy" | "clock">): OutboxSource {
  function signed(events: readonly SessionEvent[]): OutboxEvent[] {
    const keys = new Map<string, SigningKey | undefined>();
    return events.flatMap((event) => {
      const { index, appId } = event;
      if (!keys.has(appId)) keys.set(appId, tenancy.keys.current(tenantOf(appId)));
      const key = keys.get(appId);
      // A tenant that has ended has no key, and none who listen.
      if (key === undefined) return [];
      const statement = signSessionEvent(tenancy.provider.domain, event, key);
      return [{ index, appId, statement: toBinary(StatementSchema, statement) }];
    });
  }

  return {
    eventsAfter(index, limit) {
      let after = index;
      for (;;) {
        const page = sessionEvents.afterIndex(after, unixSeconds(clock), limit);
        const events = signed(page);
        const last = page.at(-1);
        // A page of nothing but ended tenants' events hides none behind it.
        if (events.length > 0 || last === undefined || page.length < limit) return events;
        after = last.index;
      }
    },
    // What says nothing any more is dropped anyway.
    lastBefore: () => 0,
  };
}
