/** One listener's list of what changed since it last looked; never longer than the number of apps it listens to. */
export interface Subscription {
  /** Resolves when something changed, when `milliseconds` have passed, or when `signal` aborts; never rejects. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** The apps that changed since the last call. With all apps watched, empty or not says the same. */
  takeChanged(): Set<string>;
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

  constructor(setTimer: SetTimer) {
    this.#setTimer = setTimer;
  }

  /** Tells listeners that an app has a new event. Call after the commit. */
  changed(appId: string | undefined): void {
    if (appId === undefined) return;
    for (const listener of this.#byApp.get(appId) ?? []) listener.wake(appId);
    for (const listener of this.#all) listener.wakeForAny();
  }

  /** Listens to some apps, or to all if `appIds` is undefined. */
  subscribe(appIds: readonly string[] | undefined): Subscription {
    const listener = new Listener(this.#setTimer, () => this.#remove(listener, appIds));
    if (appIds === undefined) {
      this.#all.add(listener);
      return listener;
    }
    for (const appId of appIds) {
      const listeners = this.#byApp.get(appId) ?? new Set();
      listeners.add(listener);
      this.#byApp.set(appId, listeners);
    }
    return listener;
  }

  #remove(listener: Listener, appIds: readonly string[] | undefined): void {
    this.#all.delete(listener);
    for (const appId of appIds ?? []) {
      const listeners = this.#byApp.get(appId);
      listeners?.delete(listener);
      if (listeners?.size === 0) this.#byApp.delete(appId);
    }
  }
}

class Listener implements Subscription {
  readonly #setTimer: SetTimer;
  readonly #onClose: () => void;
  #changed = new Set<string>();
  #woken = false;
  #wake: (() => void) | undefined;

  constructor(setTimer: SetTimer, onClose: () => void) {
    this.#setTimer = setTimer;
    this.#onClose = onClose;
  }

  wake(appId: string): void {
    this.#changed.add(appId);
    this.wakeForAny();
  }

  wakeForAny(): void {
    this.#woken = true;
    this.#wake?.();
  }

  wait(milliseconds: number, signal: AbortSignal): Promise<void> {
    if (this.#woken || signal.aborted) {
      this.#woken = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const done = () => {
        cancel();
        signal.removeEventListener("abort", done);
        this.#wake = undefined;
        this.#woken = false;
        resolve();
      };
      const cancel = this.#setTimer(milliseconds, done);
      signal.addEventListener("abort", done, { once: true });
      this.#wake = done;
    });
  }

  takeChanged(): Set<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  close(): void {
    this.#onClose();
  }
}
