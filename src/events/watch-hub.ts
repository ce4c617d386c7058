import { inTurns } from "../core/turns.ts";

/** Somebody who is told of changes. */
export interface Listener {
  /** An app that they listen to changed; undefined if they listen to all. */
  changed(appId: string | undefined): void;
}

/** One listener's list of what changed since it last looked; never longer than the number of apps it listens to. */
export interface Subscription {
  /** Resolves when something changed, when `milliseconds` have passed, or when `signal` aborts; never rejects. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** Sets a timer; cancels it with the function that is returned. */
type SetTimer = (milliseconds: number, callback: () => void) => () => void;

/**
 * Wakes those who stream events when something was committed. It carries no events: each listener reads the log at its own
 * pace, so a slow one costs no memory and misses nothing.
 */
export class WatchHub {
  readonly #byApp = new Map<string, Set<Listener>>();
  readonly #all = new Set<Listener>();
  readonly #setTimer: SetTimer;
  /** Whose listeners are still to be told. */
  readonly #changed = new Set<string>();
  #telling = false;

  constructor(setTimer: SetTimer) {
    this.#setTimer = setTimer;
  }

  /**
   * Tells listeners that an app has a new event, not all at once. Call after the commit. The first are told in this turn of the
   * event loop, so that events are on their way before anything else is done about the write.
   */
  changed(appId: string | undefined): void {
    if (appId === undefined) return;
    this.#changed.add(appId);
    if (this.#telling) return;
    this.#telling = true;
    // Behind the other writes that the same commit covers, which say what they changed first.
    queueMicrotask(() =>
      inTurns(this.#tell(), () => {
        this.#telling = false;
      }),
    );
  }

  /**
   * Listens to some apps, or to all if `appIds` is undefined.
   *
   * @returns a function that ends it
   */
  listen(appIds: Iterable<string> | undefined, listener: Listener): () => void {
    if (appIds === undefined) {
      this.#all.add(listener);
      return () => this.#all.delete(listener);
    }
    for (const appId of appIds) {
      const listeners = this.#byApp.get(appId);
      if (listeners === undefined) this.#byApp.set(appId, new Set([listener]));
      else listeners.add(listener);
    }
    return () => {
      for (const appId of appIds) {
        const listeners = this.#byApp.get(appId);
        listeners?.delete(listener);
        if (listeners?.size === 0) this.#byApp.delete(appId);
      }
    };
  }

  /** The same, to be waited for. */
  subscribe(appIds: readonly string[] | undefined): Subscription {
    const waiter = new Waiter(this.#setTimer);
    const close = this.listen(appIds, waiter);
    return { wait: (milliseconds, signal) => waiter.wait(milliseconds, signal), close };
  }

  /** Tells one listener at each step. A change that comes meanwhile is told of in another round. */
  *#tell(): Generator<void, void> {
    while (this.#changed.size > 0) {
      const changed = [...this.#changed];
      this.#changed.clear();
      for (const appId of changed) {
        for (const listener of this.#byApp.get(appId) ?? []) yield listener.changed(appId);
      }
      for (const listener of this.#all) yield listener.changed(undefined);
    }
  }
}

class Waiter implements Listener {
  readonly #setTimer: SetTimer;
  #woken = false;
  #wake: (() => void) | undefined;

  constructor(setTimer: SetTimer) {
    this.#setTimer = setTimer;
  }

  changed(): void {
    this.#woken = true;
    this.#wake?.();
  }

  async wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (!this.#woken && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const done = () => {
          cancel();
          signal.removeEventListener("abort", done);
          this.#wake = undefined;
          resolve();
        };
        const cancel = this.#setTimer(milliseconds, done);
        signal.addEventListener("abort", done, { once: true });
        this.#wake = done;
      });
    }
    // Whoever waited looks at everything now, also at what came in the same turn.
    this.#woken = false;
  }
}
