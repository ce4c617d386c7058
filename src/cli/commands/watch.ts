import type { Command } from "commander";
import {
  type Event,
  EventReason,
  EventReasonSchema,
  EventSchema,
  EventTypeSchema,
  type Heads,
} from "../../../gen/omi/event/v1/event_pb.ts";
import type { Clock } from "../../core/clock.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { isoTime } from "../../developer/readable.ts";
import { mayPass } from "../../developer/retry.ts";
import { answerInvalid } from "../../directory/answer-invalid.ts";
import type { RegistryClient } from "../../directory/registry-client.ts";
import { keyIdOf } from "../../statement/key-id.ts";
import { countingNumber, example, position } from "../arguments.ts";
import type { CliDeps } from "../deps.ts";
import { UsageError } from "../exit-code.ts";
import { type Session, withSession } from "../session.ts";
import { shown } from "../shown.ts";
import { enumName } from "../text.ts";

type WatchOptions = { after?: bigint; limit?: number };

// Waits before listening again, in milliseconds; the count begins anew whenever something came.
const WAITS_MS = [500, 1000, 2000, 4000, 4000];

/** `omi watch`: shows events as they happen. */
export function addWatch(program: Command, deps: CliDeps): void {
  const watch = program
    .command("watch [app-id...]")
    .description("show the events of apps, or of a whole registry, as they happen; Ctrl-C ends it")
    .option(
      "--after <number>",
      "begin after this sequence (one app) or log index (all); with what comes if left out",
      position,
    )
    .option("--limit <number>", "end after this many events", countingNumber)
    .action((appIds: string[], options: WatchOptions, command: Command) =>
      withSession(command, deps, (session) => listen(session, appIds, options)),
    );
  example(watch, "omi watch org.omiappreg.alice.business_app.7f8a9d --after 0", "omi watch --json --after 1200");
}

async function listen(session: Session, appIds: readonly string[], { after, limit }: WatchOptions): Promise<void> {
  const stop = new AbortController();
  session.deps.onInterrupt(() => stop.abort());
  const registry = registryOf(session, appIds);
  const cursor = await Cursor.at(registry, appIds, after);
  let left = limit ?? Number.POSITIVE_INFINITY;
  let failures = 0;
  while (left > 0 && !stop.signal.aborted) {
    try {
      for await (const item of registry.watch({ ...cursor.position(), signal: stop.signal })) {
        failures = 0;
        if (item.kind === "heads") cursor.checkHeads(item.value);
        else if (cursor.take(item.value)) {
          session.output.item(await shown(EventSchema, item.value), eventLine(item.value, item.header.issuedAt));
          left--;
        }
        if (left === 0) break;
      }
    } catch (error) {
      const wait = WAITS_MS[failures++];
      if (wait === undefined || !mayPass(error)) {
        session.output.note(`Go on from here with: ${cursor.resumption()}`);
        throw error;
      }
      session.output.note(`The registry ${registry.domain} is gone; listening again.`);
      await sleep(session.deps.clock, wait, stop.signal);
    }
  }
}

/** Which events were shown, so that none is shown twice and none is missed. */
class Cursor {
  readonly #domain: string;
  /** The last sequence of each watched app; empty: all apps are watched. */
  readonly #sequences: Map<string, bigint>;
  #logIndex: bigint;

  constructor(domain: string, sequences: Map<string, bigint>, logIndex: bigint) {
    this.#domain = domain;
    this.#sequences = sequences;
    this.#logIndex = logIndex;
  }

  /** Begins after `after`, or else with what happens from now on. */
  static async at(registry: RegistryClient, appIds: readonly string[], after?: bigint): Promise<Cursor> {
    if (after !== undefined) {
      if (appIds.length > 1) throw new UsageError("--after is for one app, or for all");
      return new Cursor(registry.domain, new Map(appIds.map((appId) => [appId, after])), after);
    }
    const { value } = await registry.getHeads(appIds);
    const known = new Map(value.apps.map(({ appId, sequence }) => [appId, sequence]));
    return new Cursor(registry.domain, new Map(appIds.map((appId) => [appId, known.get(appId) ?? 0n])), value.logIndex);
  }

  position() {
    if (this.#sequences.size === 0) return { afterLogIndex: this.#logIndex };
    return { apps: [...this.#sequences].map(([appId, sequence]) => ({ appId, sequence })) };
  }

  resumption(): string {
    const [app, ...others] = this.#sequences;
    if (app === undefined) return `omi watch --after ${this.#logIndex}`;
    return others.length === 0 ? `omi watch ${app[0]} --after ${app[1]}` : "omi watch, with --after, for each app";
  }

  /** Moves on to an event. False if it was there before; throws if one before it is missing. */
  take(event: Event): boolean {
    const last = this.#sequences.get(event.appId);
    const [at, cursor] = last === undefined ? [event.logIndex, this.#logIndex] : [event.sequence, last];
    if (at <= cursor) return false;
    if (last !== undefined && at !== last + 1n)
      throw answerInvalid(this.#domain, "event.sequence", "an event is missing");
    if (last === undefined) this.#logIndex = at;
    else this.#sequences.set(event.appId, at);
    return true;
  }

  checkHeads({ apps, logIndex }: Heads): void {
    const behind = apps.some(({ appId, sequence }) => sequence < (this.#sequences.get(appId) ?? 0n));
    if (behind || (this.#sequences.size === 0 && logIndex < this.#logIndex)) {
      throw new Refusal(Reason.REGISTRY_ROLLED_BACK, `${this.#domain} is behind what it said before`, {
        metadata: { registry: this.#domain },
      });
    }
  }
}

function registryOf(session: Session, appIds: readonly string[]): RegistryClient {
  const [first, ...others] = appIds.map((appId) => session.connections.registries.forApp(appId));
  if (first === undefined) return session.registry();
  if (others.some((other) => other.domain !== first.domain))
    throw new UsageError("the apps are of different registries");
  return first;
}

function eventLine(event: Event, time: bigint): string {
  const { appId, serviceId, reason, oldPublicKey, newPublicKey, gracePeriodExpiry } = event;
  const facts = [
    isoTime(time),
    `#${event.sequence}`,
    enumName(EventTypeSchema, event.event),
    serviceId === "" ? appId : `${appId}/${serviceId}`,
    reason === EventReason.UNSPECIFIED ? "" : `(${enumName(EventReasonSchema, reason)})`,
    oldPublicKey.length === 0 ? "" : `old key ${keyIdOf(oldPublicKey)}`,
    gracePeriodExpiry === 0n ? "" : `in grace until ${isoTime(gracePeriodExpiry)}`,
    newPublicKey.length === 0 ? "" : `new key ${keyIdOf(newPublicKey)}`,
    `log ${event.logIndex}`,
  ];
  return facts.filter((fact) => fact !== "").join("  ");
}

function sleep(clock: Clock, milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.setTimer(milliseconds, resolve);
    const stop = () => {
      cancel();
      resolve();
    };
    signal.addEventListener("abort", stop, { once: true });
  });
}
