import { fromBinary } from "@bufbuild/protobuf";
import { type WatchRequest, WatchRequestSchema } from "../../../gen/omi/event/v1/event_service_pb.ts";
import type { Sleeper } from "../../events/alarm.ts";
import type { Listener } from "../../events/watch-hub.ts";
import type { MessageSource } from "../../rpc/ready/ready-streams.ts";
import { checkBounds } from "../../statement/bounds.ts";
import type { RegistryCore } from "../core.ts";
import { requireApp } from "../rules/authority.ts";
import type { EventBatch, WatchMessages } from "../watch-messages.ts";
import { sequenceUpTo } from "./list-events.ts";

/**
 * Streams events from a cursor on, and heads. Events are read from the log as fast as the caller takes them, so a slow
 * caller costs no more memory than a fast one and misses nothing.
 */
export function watch(
  core: RegistryCore,
  messages: WatchMessages,
  encoded: Uint8Array,
  wake: () => void,
): MessageSource {
  const request = fromBinary(WatchRequestSchema, encoded);
  checkBounds(WatchRequestSchema, request, { allowPlainHttp: core.allowPlainHttp });
  const events =
    request.apps.length === 0 ? new AllApps(core, messages, request) : new SomeApps(core, messages, request);
  return new Watch(core, messages, events, wake);
}

class Watch implements MessageSource, Listener, Sleeper {
  readonly #core: RegistryCore;
  readonly #messages: WatchMessages;
  readonly #events: Events;
  readonly #wake: () => void;
  readonly #stopListening: () => void;
  #batch: readonly Uint8Array[] = [];
  #position = 0;
  #headsDue = true;

  constructor(core: RegistryCore, messages: WatchMessages, events: Events, wake: () => void) {
    this.#core = core;
    this.#messages = messages;
    this.#events = events;
    this.#wake = wake;
    this.#stopListening = core.hub.listen(events.appIds, this);
  }

  next(): Uint8Array | "later" {
    const event = this.#batch[this.#position++];
    if (event !== undefined) return event;
    if (this.#headsDue) return this.#heads();
    this.#batch = this.#events.next();
    this.#position = 0;
    return this.#batch[this.#position++] ?? "later";
  }

  changed(appId: string | undefined): void {
    this.#events.changed(appId);
    this.#wake();
  }

  ring(): void {
    this.#headsDue = true;
    this.#wake();
  }

  close(): void {
    this.#core.headsAlarm.cancel(this);
    this.#stopListening();
  }

  #heads(): Uint8Array {
    this.#headsDue = false;
    this.#core.headsAlarm.set(this);
    return this.#messages.heads(this.#events.appIds ?? []);
  }
}

/** Where a stream's events come from. */
interface Events {
  /** The apps that are watched; undefined for all. */
  readonly appIds: readonly string[] | undefined;
  /** An app has new events; undefined if all apps are watched. */
  changed(appId: string | undefined): void;
  /** The next events behind the cursor; none if there are no more for now. Moves the cursor. */
  next(): EventBatch["frames"];
}

class AllApps implements Events {
  readonly appIds = undefined;
  readonly #messages: WatchMessages;
  #cursor: number;

  constructor(core: RegistryCore, messages: WatchMessages, request: WatchRequest) {
    this.#messages = messages;
    this.#cursor = sequenceUpTo(request.afterLogIndex, core.log.head().index, "after_log_index");
  }

  changed(): void {}

  next(): EventBatch["frames"] {
    const { frames, end } = this.#messages.ofAll(this.#cursor);
    this.#cursor = end;
    return frames;
  }
}

class SomeApps implements Events {
  readonly appIds: readonly string[];
  readonly #messages: WatchMessages;
  readonly #cursors = new Map<string, number>();
  /** The apps that have events behind the cursor. */
  readonly #behind = new Set<string>();

  constructor(core: RegistryCore, messages: WatchMessages, request: WatchRequest) {
    this.#messages = messages;
    for (const [index, { appId, sequence }] of request.apps.entries()) {
      const app = requireApp(core.store.app(appId));
      const cursor = sequenceUpTo(sequence, app.sequence, `apps[${index}].sequence`);
      this.#cursors.set(appId, cursor);
      if (cursor < app.sequence) this.#behind.add(appId);
    }
    this.appIds = [...this.#cursors.keys()];
  }

  changed(appId: string): void {
    this.#behind.add(appId);
  }

  next(): EventBatch["frames"] {
    for (const appId of this.#behind) {
      const { frames, end, full } = this.#messages.ofApp(appId, this.#cursors.get(appId) ?? 0);
      this.#cursors.set(appId, end);
      if (!full) this.#behind.delete(appId);
      if (frames.length > 0) return frames;
    }
    return [];
  }
}
