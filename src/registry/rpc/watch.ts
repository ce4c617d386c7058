import type { MessageInitShape } from "@bufbuild/protobuf";
import type { WatchRequest, WatchResponseSchema } from "../../../gen/omi/event/v1/event_service_pb.ts";
import type { Subscription } from "../../events/watch-hub.ts";
import type { RegistryCore } from "../core.ts";
import { signHeads } from "../heads.ts";
import { decodeStatement } from "../keyring.ts";
import { requireApp } from "../rules/authority.ts";
import { sequenceUpTo } from "./list-events.ts";

/** Silence proves nothing, so heads are sent this often, in milliseconds. */
const headsIntervalMs = 5000;

/** How many events are read from the log at a time: what a stream holds in memory at the most. */
const batchSize = 100;

type WatchMessage = MessageInitShape<typeof WatchResponseSchema>;

/**
 * Streams events from a cursor on, and heads. Events are read from the log as fast as the caller takes them, so a slow
 * caller costs no more memory than a fast one and misses nothing.
 */
export async function* watch(
  core: RegistryCore,
  request: WatchRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage> {
  const source = request.apps.length === 0 ? allApps(core, request) : someApps(core, request);
  const subscription = core.hub.subscribe(source.appIds);
  try {
    yield { heads: signHeads(core, source.appIds ?? []) };
    let headsAt = core.clock.now() + headsIntervalMs;
    while (!signal.aborted) {
      for (const event of source.next(subscription)) yield { event: decodeStatement(event) };
      if (core.clock.now() >= headsAt) {
        yield { heads: signHeads(core, source.appIds ?? []) };
        headsAt = core.clock.now() + headsIntervalMs;
      }
      if (!source.hasMore()) await subscription.wait(headsAt - core.clock.now(), signal);
    }
  } finally {
    subscription.close();
  }
}

/** Where a stream's events come from. */
interface Source {
  /** The apps that are watched; undefined for all. */
  readonly appIds: readonly string[] | undefined;
  /** The next events behind the cursor, at most {@link batchSize}; moves the cursor. */
  next(subscription: Subscription): Uint8Array[];
  /** True if the last batch was full, so that there may be more. */
  hasMore(): boolean;
}

function allApps(core: RegistryCore, request: WatchRequest): Source {
  let cursor = sequenceUpTo(request.afterLogIndex, core.log.head().index, "after_log_index");
  let full = true;
  return {
    appIds: undefined,
    next() {
      const events = core.log.eventsOfAll(cursor, batchSize);
      cursor = events.at(-1)?.index ?? cursor;
      full = events.length === batchSize;
      return events.map((event) => event.statement);
    },
    hasMore: () => full,
  };
}

function someApps(core: RegistryCore, request: WatchRequest): Source {
  const cursors = new Map<string, number>();
  for (const [index, { appId, sequence }] of request.apps.entries()) {
    const app = requireApp(core.store.app(appId));
    cursors.set(appId, sequenceUpTo(sequence, app.sequence, `apps[${index}].sequence`));
  }
  // Every app is behind until it was read once.
  const behind = new Set(cursors.keys());
  return {
    appIds: [...cursors.keys()],
    next(subscription) {
      for (const appId of subscription.takeChanged()) behind.add(appId);
      const batch: Uint8Array[] = [];
      for (const appId of behind) {
        const room = batchSize - batch.length;
        if (room === 0) break;
        const events = core.log.eventsOfApp(appId, cursors.get(appId) ?? 0, room);
        const last = events.at(-1);
        if (last !== undefined) cursors.set(appId, last.sequence);
        if (events.length < room) behind.delete(appId);
        batch.push(...events.map((event) => event.statement));
      }
      return batch;
    },
    hasMore: () => behind.size > 0,
  };
}
