import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { type Event, EventSchema, type Heads, HeadsSchema } from "../../gen/omi/event/v1/event_pb.ts";
import { EventService, GetHeadsRequestSchema, type WatchResponse } from "../../gen/omi/event/v1/event_service_pb.ts";
import { type LogEntry, LogService } from "../../gen/omi/registry/v1/log_pb.ts";
import type { Statement } from "../../gen/omi/statement/v1/statement_pb.ts";
import { equalBytes } from "../core/bytes.ts";
import type { Random } from "../core/random.ts";
import type { Opened } from "../statement/statement.ts";
import { answerInvalid } from "./answer-invalid.ts";
import { LOG_BEGINNING, type LogPosition, logEntryProblem } from "./log-chain.ts";
import type { RegistryConnection } from "./registry-connection.ts";
import { queryOf, type Verified } from "./verified.ts";

/** A verified event and its Statement ID. */
export type VerifiedEvent = Verified<Event> & { readonly id: Uint8Array };

/** Events of one app, in order and without gaps. */
export type EventList = readonly VerifiedEvent[];

/** Which entries of the log to read. */
export type LogRange = {
  /** The last entry that the reader has; the page begins behind it. Left out: from the first entry on. */
  readonly after?: LogPosition;
  /** The greatest number of entries, at most 500; the registry's default if left out. */
  readonly pageSize?: number;
};

/** A page of the log whose chain was checked. */
export type LogPage = {
  readonly entries: readonly LogEntry[];
  /** Where the next page begins. */
  readonly position: LogPosition;
  /** The signed head. */
  readonly heads: Verified<Heads>;
};

/** What to listen to. */
export type WatchOptions = {
  /** The apps, each with the sequence of the last event that the listener has. Left out or empty: all apps. */
  readonly apps?: readonly { readonly appId: string; readonly sequence: bigint }[];
  /** With no apps: the log index of the last event that the listener has. */
  readonly afterLogIndex?: bigint;
  /** Ends the listening. */
  readonly signal: AbortSignal;
  /** Told as soon as the registry has accepted the call. */
  readonly onOpen?: () => void;
};

/** What a listener gets. */
export type WatchItem = ({ readonly kind: "event" } & VerifiedEvent) | ({ readonly kind: "heads" } & Verified<Heads>);

const NONCE_LENGTH = 16;

const HASH_LENGTH = 32;

/** A registry's events and its log, read and verified. Methods fail as those of `RegistryClient` do. */
export class RegistryEvents {
  readonly #connection: RegistryConnection;
  readonly #random: Random;
  /** What was verified, by the very object: an event that Watch brought is not verified again by who takes it as carried. */
  readonly #verified = new WeakMap<Statement, VerifiedEvent>();

  constructor(connection: RegistryConnection, random: Random) {
    this.#connection = connection;
    this.#random = random;
  }

  /**
   * Reads a page of the log and checks that its entries follow the reader's last one, each linked to the one before, and
   * the last one to the signed head if they meet.
   */
  async readLog({ after = LOG_BEGINNING, pageSize = 0 }: LogRange = {}): Promise<LogPage> {
    const request = { startIndex: after.index + 1n, pageSize };
    const { entries, heads: statement } = await this.#connection.call((transport) =>
      createClient(LogService, transport).readLog(request),
    );
    let position = after;
    for (const [i, entry] of entries.entries()) {
      const problem = logEntryProblem(position, entry);
      if (problem !== undefined) throw this.#invalid(`entries[${i}].${problem}`, "the chain of the log is broken");
      position = { index: entry.index, hash: entry.hash, time: entry.time };
    }
    const heads = await this.#heads(statement, "heads");
    const { logIndex, logHash } = heads.value;
    if (logIndex < position.index) throw this.#invalid("heads.log_index", "the head is behind the entries");
    if (logIndex === position.index && position.hash !== undefined && !equalBytes(logHash, position.hash)) {
      throw this.#invalid("heads.log_hash", "the head is not that of these entries");
    }
    return { entries, position, heads };
  }

  /** Lists the events of an app after a sequence, in order and without gaps; fewer or none if there are no more for now. */
  async listEvents(appId: string, afterSequence: bigint, pageSize = 0): Promise<EventList> {
    const { events } = await this.#connection.call((transport) =>
      createClient(EventService, transport).listEvents({ appId, afterSequence, pageSize }),
    );
    const list: VerifiedEvent[] = [];
    for (const [i, statement] of events.entries()) {
      const event = await this.#event(statement, `events[${i}]`);
      if (event.value.appId !== appId) throw this.#invalid(`events[${i}].app_id`, "an event of another app");
      if (event.value.sequence !== afterSequence + BigInt(i) + 1n) {
        throw this.#invalid(`events[${i}].sequence`, "an event is missing");
      }
      list.push(event);
    }
    return list;
  }

  /**
   * Reads the heads of the log and of some apps, made for this call. Apps that the registry does not know are left out.
   *
   * @param knownLogIndex the index of a log entry whose hash the answer shall hold, if the log reaches so far; 0 for none
   */
  async getHeads(appIds: readonly string[], knownLogIndex: bigint): Promise<Verified<Heads>> {
    const nonce = this.#random(NONCE_LENGTH);
    const request = create(GetHeadsRequestSchema, { appIds: [...appIds], nonce, knownLogIndex });
    const { heads } = await this.#connection.call((transport) =>
      createClient(EventService, transport).getHeads(request),
    );
    const answer = await this.#heads(heads, "heads", queryOf(GetHeadsRequestSchema, request));
    const { knownLogHash, logIndex } = answer.value;
    const isDue = 0n < knownLogIndex && knownLogIndex <= logIndex;
    if (knownLogHash.length !== (isDue ? HASH_LENGTH : 0)) {
      throw this.#invalid("heads.known_log_hash", "it has the wrong length");
    }
    return answer;
  }

  /**
   * Verifies an event of this registry that did not come in an answer of it, but by way of somebody else.
   *
   * @throws Refusal ANSWER_INVALID; REGISTRY_UNAVAILABLE if the registry's keys can't be had
   */
  verifyEvent(statement: Statement): Promise<VerifiedEvent> {
    return this.#event(statement, "event");
  }

  /** Verifies heads of this registry that came by way of somebody else, and not in answer to a question. */
  verifyHeads(statement: Statement): Promise<Verified<Heads>> {
    return this.#heads(statement, "heads");
  }

  /**
   * Listens to events and heads until the signal aborts, then ends without an error. Events are verified one by one; that
   * none is missing is for the listener to see, from their sequences and the heads.
   *
   * @throws Refusal REGISTRY_UNAVAILABLE also when the registry ends the stream: listen again from the last event on
   */
  async *watch({ apps = [], afterLogIndex = 0n, signal, onOpen }: WatchOptions): AsyncGenerator<WatchItem> {
    const watched = new Set(apps.map(({ appId }) => appId));
    const transport = await this.#connection.transport();
    const request = { apps: apps.map(({ appId, sequence }) => ({ appId, sequence })), afterLogIndex };
    const left = new AbortController();
    const either = AbortSignal.any([signal, left.signal]);
    const options = { signal: either, ...(onOpen === undefined ? {} : { onHeader: () => onOpen() }) };
    try {
      for await (const response of createClient(EventService, transport).watch(request, options)) {
        const item = await this.#watchItem(response);
        if (item === undefined) continue;
        if (item.kind === "event" && watched.size > 0 && !watched.has(item.value.appId)) {
          throw this.#invalid("event.app_id", "an event of an app that is not watched");
        }
        yield item;
      }
    } catch (error) {
      if (signal.aborted) return;
      throw this.#connection.failure(error);
    } finally {
      // The stream ends when its signal aborts, and only then: also if the listener left its loop.
      left.abort();
    }
    if (!signal.aborted) throw this.#connection.failure(new Error("the registry ended the stream"));
  }

  async #watchItem({ event, heads }: WatchResponse): Promise<WatchItem | undefined> {
    if (event !== undefined) return { kind: "event", ...(await this.#event(event, "event")) };
    if (heads !== undefined) return { kind: "heads", ...(await this.#heads(heads, "heads")) };
    return undefined;
  }

  async #event(statement: Statement, field: string): Promise<VerifiedEvent> {
    const known = this.#verified.get(statement);
    if (known !== undefined) return known;
    const opened = await this.#connection.verify(EventSchema, statement, { field });
    this.#checkOrigin(opened, opened.message.origin);
    const event = { value: opened.message, header: opened.header, statement, id: opened.id };
    this.#verified.set(statement, event);
    return event;
  }

  async #heads(statement: Statement | undefined, field: string, query?: Uint8Array): Promise<Verified<Heads>> {
    const expected = query === undefined ? { field } : { field, query };
    const opened = await this.#connection.verify(HeadsSchema, statement, expected);
    this.#checkOrigin(opened, opened.message.origin);
    return { value: opened.message, header: opened.header, statement: opened.statement };
  }

  #checkOrigin({ field }: Opened, origin: string): void {
    if (origin !== this.#connection.domain) throw this.#invalid(`${field}.origin`, "it is of another registry");
  }

  #invalid(field: string, problem: string): Error {
    return answerInvalid(this.#connection.domain, field, problem);
  }
}
