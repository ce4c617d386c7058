import type { Heads } from "../../../gen/omi/event/v1/event_pb.ts";
import { equalBytes } from "../../core/bytes.ts";
import type { Random } from "../../core/random.ts";
import type { RegistryClient } from "../../directory/registry-client.ts";
import type { Verified } from "../../directory/verified.ts";
import type { AppFeed } from "./app-feed.ts";
import { type SubscriberCore, since } from "./core.ts";
import type { SeenLog } from "./cursors.ts";
import { SEEN_JOB } from "./failpoints.ts";

/** Heads that were asked for, and what had been seen before that: they can't be older. */
type Polled = {
  readonly heads: Verified<Heads>;
  readonly apps: readonly AppFeed[];
  readonly askedAt: number;
  /** How often there had been reason to look at the history. */
  readonly reasons: number;
  readonly before: SeenLog & { readonly cursors: ReadonlyMap<string, bigint> };
};

// As many as a GetHeads takes.
const MAX_APPS_OF_A_POLL = 1000;

// How often heads are due, in milliseconds, unless the bound on their age asks for more.
const HEADS_INTERVAL_MS = 5000;

/**
 * One registry: its heads, and whether it still says what it said before.
 *
 * Heads that a carrier brings may be old ones, so they confirm but never accuse. Only an answer to our own question, which
 * can't be older than what had been seen when it was asked, shows that a registry was rolled back. From then on nothing of
 * it is believed until its log is again the one that was seen.
 */
export class RegistryFeed {
  readonly client: RegistryClient;
  readonly apps = new Map<string, AppFeed>();
  readonly #core: SubscriberCore;
  readonly #random: Random;
  readonly #intervalMs: number;
  #standing: "unknown" | "trusted" | "rolled back" = "unknown";
  /** How often there was reason to look at the registry's history, and up to which of them that was done. */
  #historyReasons = 0;
  #historyLookedAt = 0;
  #polling: Promise<void> | undefined;
  #isPolledAgain = false;
  #failures = 0;
  #cancelTimer: (() => void) | undefined;
  #isOpen = false;

  constructor(client: RegistryClient, core: SubscriberCore, random: Random) {
    this.client = client;
    this.#core = core;
    this.#random = random;
    this.#intervalMs = Math.min(HEADS_INTERVAL_MS, core.maxAgeMs / 2);
  }

  /** True while nothing speaks against what the registry says. False before its first head. */
  get isTrusted(): boolean {
    return this.#standing === "trusted";
  }

  /**
   * True while what the registry says may be put in place. False as long as it may have been restored since its history was last
   * looked at: what it tells then may be of another history, and go on where the last one ended.
   */
  get isSettled(): boolean {
    return this.isTrusted && this.#historyLookedAt === this.#historyReasons;
  }

  /** True if the registry fell behind what it had said. */
  get isRolledBack(): boolean {
    return this.#standing === "rolled back";
  }

  /** Begins to ask for heads, now and as long as nobody brings them. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    void this.poll();
    this.#schedule();
  }

  /** Asks no more. */
  close(): void {
    this.#isOpen = false;
    this.#cancelTimer?.();
  }

  /** Anything may have been missed, and the registry may have been restored meanwhile: heads of all apps are due. */
  reconnected(): void {
    this.#historyReasons++;
    this.wantHeads();
    // Nothing that is told from here on is taken before, so the usual pause between two questions would only hold it up.
    for (const app of this.apps.values()) app.askedAt = Number.NEGATIVE_INFINITY;
    void this.poll();
  }

  /**
   * Asks for the heads that are due. One round at a time; who asks meanwhile waits for it, and for one more for what has
   * become due since it began. Never rejects.
   */
  poll(): Promise<void> {
    if (this.#polling !== undefined) this.#isPolledAgain = true;
    this.#polling ??= this.#rounds();
    return this.#polling;
  }

  async #rounds(): Promise<void> {
    try {
      do {
        this.#isPolledAgain = false;
        await this.#round();
      } while (this.#isPolledAgain);
    } finally {
      // In the step of that look, so that nobody can ask between the two.
      this.#polling = undefined;
    }
  }

  /** Takes verified heads that the carrier brought. */
  async takeCarried({ value, header }: Verified<Heads>): Promise<void> {
    const { cursors, clock } = this.#core;
    const isBehind =
      value.logIndex < cursors.seenLog(this.client.domain).index ||
      value.apps.some(({ appId, sequence }) => sequence < (this.apps.get(appId)?.cursor ?? 0n));
    if (!this.isSettled || isBehind) {
      // Perhaps late, perhaps the sign of something worse.
      this.wantHeads();
      return this.poll();
    }
    await this.#remember(value);
    const asOf = Math.min(Number(header.issuedAt) * 1000, clock.now());
    for (const { appId, sequence } of value.apps) {
      this.#tell(this.apps.get(appId), { sequence, asOf, signedAt: Number(header.issuedAt) }, true);
    }
  }

  /** Nothing of this registry is believed until it has caught up with what it said before. */
  rolledBack(what: string, appId?: string): void {
    if (this.isRolledBack) return;
    this.#standing = "rolled back";
    const { logger, cursors } = this.#core;
    const registry = this.client.domain;
    const seen = cursors.seenLog(registry);
    logger.error(
      { alarm: "REGISTRY_ROLLED_BACK", registry, what, appId, seenLogIndex: Number(seen.index) },
      "the registry is behind what it has said: it was restored from an old backup; nothing is granted by it",
    );
  }

  wantHeads(): void {
    for (const app of this.apps.values()) app.isWanted = true;
  }

  async #round(): Promise<void> {
    if (this.#core.stopped()) return;
    const due = [...this.apps.values()].filter((app) => this.#isDue(app));
    const polled: Polled[] = [];
    let isComplete = true;
    for (let start = 0; start < due.length; start += MAX_APPS_OF_A_POLL) {
      try {
        polled.push(await this.#ask(due.slice(start, start + MAX_APPS_OF_A_POLL)));
      } catch (error) {
        isComplete = false;
        // Whatever kept it from answering, it may have been restored meanwhile.
        this.#historyReasons++;
        this.#core.logger.warn({ registry: this.client.domain, err: error }, "heads could not be read");
      }
      if (this.#core.stopped()) return;
    }
    this.#failures = isComplete ? 0 : this.#failures + 1;
    const last = polled.at(-1);
    if (last === undefined || !this.#judge(polled, isComplete)) return;
    await this.#remember(last.heads.value);
    for (const { heads, apps, askedAt } of polled) {
      const sequences = sequencesOf(heads.value);
      const signedAt = Number(heads.header.issuedAt);
      // An app that the registry does not know has no events.
      for (const app of apps) {
        this.#tell(app, { sequence: sequences.get(app.appId) ?? 0n, asOf: askedAt, signedAt }, false);
      }
    }
  }

  async #ask(apps: readonly AppFeed[]): Promise<Polled> {
    const { clock, cursors } = this.#core;
    const askedAt = clock.now();
    for (const app of apps) {
      app.askedAt = askedAt;
      app.isWanted = false;
    }
    const before = {
      ...cursors.seenLog(this.client.domain),
      cursors: new Map(apps.map(({ appId, cursor }) => [appId, cursor])),
    };
    const reasons = this.#historyReasons;
    const heads = await this.client.getHeads(
      apps.map(({ appId }) => appId),
      before.head?.index,
    );
    return { heads, apps, askedAt, reasons, before };
  }

  /** Decides whether the registry is to be believed after what it just said. */
  #judge(polled: readonly Polled[], isComplete: boolean): boolean {
    const problem = polled.map(problemOf).find((found) => found !== undefined);
    if (problem !== undefined) {
      this.rolledBack(problem);
      return false;
    }
    if (this.isSettled) return true;
    if (!isComplete) return false;
    if (this.isRolledBack) {
      for (const app of this.apps.values()) app.expectNothing();
      this.#core.logger.warn({ registry: this.client.domain }, "the registry has caught up with what it had said");
    }
    this.#standing = "trusted";
    this.#historyLookedAt = polled[0]?.reasons ?? 0;
    // There may be a new reason since these heads were asked for: then the next ones count.
    return this.isSettled;
  }

  /** Keeps how far the log is, if that is news. */
  async #remember({ logIndex, logHash }: Heads): Promise<void> {
    const { cursors, writes, logger } = this.#core;
    const registry = this.client.domain;
    if (logIndex <= (cursors.seenLog(registry).head?.index ?? 0n)) return;
    try {
      await writes.run(SEEN_JOB, () => cursors.sawHead(registry, { index: logIndex, hash: logHash }));
    } catch (error) {
      logger.error({ registry, err: error }, "a head could not be remembered");
    }
  }

  #tell(app: AppFeed | undefined, head: Parameters<AppFeed["sawHead"]>[0], isCarried: boolean): void {
    app?.sawHead(head, isCarried).catch((error: unknown) => {
      this.#core.logger.error({ appId: app.appId, err: error }, "an event could not be applied");
    });
  }

  #isDue(app: AppFeed): boolean {
    const { clock } = this.#core;
    if (since(clock, app.askedAt) < this.#intervalMs / 5) return false;
    if (app.isWanted || !this.isTrusted || app.head === undefined) return true;
    // A carrier that brings heads does so as often as they are due here, and is given a little longer.
    return since(clock, app.head.asOf) >= this.#intervalMs * (app.isCarried ? 1.2 : 0.9);
  }

  /** Looks around several times in an interval, each time a little earlier or later; less often while the registry fails. */
  #schedule(): void {
    if (!this.#isOpen) return;
    const [byte = 0] = this.#random(1);
    const delay = Math.min((this.#intervalMs / 5) * 2 ** this.#failures, this.#intervalMs);
    this.#cancelTimer = this.#core.clock.setTimer(delay * (0.75 + byte / 512), () => {
      void this.poll().then(() => this.#schedule());
    });
  }
}

/** What, in an answer to our own question, is behind what had been seen before it; undefined if nothing is. */
function problemOf({ heads: { value }, apps, before }: Polled): string | undefined {
  if (value.logIndex < before.index) return "log_index";
  // At the place of the last head that was remembered, the log must have the entry that it had. A registry that was restored and
  // has grown again since is caught by this.
  if (before.head !== undefined && !equalBytes(value.knownLogHash, before.head.hash)) return "log_hash";
  const sequences = sequencesOf(value);
  const isBehind = ({ appId }: AppFeed) => (sequences.get(appId) ?? 0n) < (before.cursors.get(appId) ?? 0n);
  return apps.some(isBehind) ? "sequence" : undefined;
}

function sequencesOf({ apps }: Heads): Map<string, bigint> {
  return new Map(apps.map(({ appId, sequence }) => [appId, sequence]));
}
