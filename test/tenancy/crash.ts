import type { Failpoint } from "../../src/core/failpoint.ts";

/** A process that dies at one failpoint: what comes there throws, and so does everything after it. */
export class Crash {
  readonly #at: string;
  /** True once the failpoint was reached. */
  happened = false;

  constructor(at: string) {
    this.#at = at;
  }

  readonly failpoint: Failpoint = (name) => {
    this.happened ||= name === this.#at;
    if (this.happened) throw new Error(`crashed at ${this.#at}`);
  };
}
