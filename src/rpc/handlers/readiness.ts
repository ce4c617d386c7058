/**
 * Whether a server can do its work, as health tells it. Starts as ready; a part that is not (its view of a registry is
 * too old) says so, and the server's own stop says so for good.
 */
export class Readiness {
  #ready = true;
  readonly #listeners = new Set<() => void>();

  get ready(): boolean {
    return this.#ready;
  }

  set(ready: boolean): void {
    if (ready === this.#ready) return;
    this.#ready = ready;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Resolves at the next change, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#listeners.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      if (signal.aborted) return resolve();
      this.#listeners.add(done);
      signal.addEventListener("abort", done);
    });
  }
}
