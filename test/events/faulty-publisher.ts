import type { OutboxEvent, Publisher, PublisherSession } from "../../src/events/publisher.ts";

/**
 * What becomes of one publishing: it is kept and confirmed; it is kept, but nobody is told; it is lost; or the connection is lost
 * before (`cut`).
 */
export type Fate = "confirmed" | "kept" | "lost" | "cut";

/** A carrier in memory that does what a test says. Calls wait until the test settles them, or are settled at once. */
export class FaultyPublisher implements Publisher {
  readonly name = "faulty";
  retentionSeconds = 3600;
  /** False while the carrier can't be reached. */
  reachable = true;
  /** What it keeps, in the order in which it came. */
  kept: OutboxEvent[] = [];
  /** How many connections there were. */
  connections = 0;
  /** Decides each publishing; {@link hold} makes them wait. */
  fate: (event: OutboxEvent) => Fate = () => "confirmed";
  /** The most calls that ever waited at once, of all apps and of one. */
  mostWaiting = 0;
  mostWaitingOfOneApp = 0;
  #waiting: { event: OutboxEvent; settle: () => void }[] = [];
  #holding = false;
  #cut: (() => void) | undefined;

  async connect(): Promise<PublisherSession> {
    if (!this.reachable) throw new Error("unreachable");
    this.connections++;
    let isOver = false;
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = () => {
        isOver = true;
        resolve();
      };
    });
    this.#cut = end;
    return {
      ended,
      publish: (event) =>
        new Promise((resolve, reject) => {
          const settle = () => {
            const fate = isOver ? "lost" : this.fate(event);
            if (fate === "cut") end();
            if (fate === "confirmed" || fate === "kept") this.kept.push(event);
            if (fate === "confirmed") resolve(this.kept.length);
            else reject(new Error(fate));
          };
          this.#waiting.push({ event, settle });
          this.#count();
          if (!this.#holding) this.settleAll();
        }),
      holds: async (position, event) => this.kept[position - 1]?.index === event.index,
      close: async () => end(),
    };
  }

  /** From now on calls wait for {@link settleAll}. */
  hold(): void {
    this.#holding = true;
  }

  /** Settles the calls that wait. */
  settleAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { settle } of waiting) settle();
  }

  /** Loses the connection. */
  cut(): void {
    this.#cut?.();
  }

  /** The log indexes of what is kept of an app, each where it came first. */
  firstKept(appId: string): number[] {
    return [...new Set(this.kept.filter((event) => event.appId === appId).map((event) => event.index))];
  }

  #count(): void {
    const counts = new Map<string, number>();
    for (const { event } of this.#waiting) counts.set(event.appId, (counts.get(event.appId) ?? 0) + 1);
    this.mostWaiting = Math.max(this.mostWaiting, this.#waiting.length);
    this.mostWaitingOfOneApp = Math.max(this.mostWaitingOfOneApp, ...counts.values());
  }
}
