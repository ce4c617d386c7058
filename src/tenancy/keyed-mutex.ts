import { Reason, Refusal } from "../core/refusal.ts";

/** Runs work on the same key one after the other, and on different keys at the same time. First come, first served. */
export class KeyedMutex {
  readonly #maxWaiting: number;
  readonly #queues = new Map<string, { last: Promise<void>; length: number }>();

  /** @param maxWaiting the most that may wait for one key; one more is refused with OVERLOADED */
  constructor(maxWaiting = 64) {
    this.#maxWaiting = maxWaiting;
  }

  /**
   * Runs `work` once nobody before it holds `key`. Not reentrant: work that asks for its own key waits for itself.
   *
   * @throws Refusal OVERLOADED, or what `work` threw
   */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key) ?? { last: Promise.resolve(), length: 0 };
    if (queue.length > this.#maxWaiting) throw new Refusal(Reason.OVERLOADED, "too many calls for the same tenant");
    const before = queue.last;
    const done = Promise.withResolvers<void>();
    queue.last = done.promise;
    queue.length++;
    this.#queues.set(key, queue);
    await before;
    try {
      return await work();
    } finally {
      queue.length--;
      if (queue.length === 0) this.#queues.delete(key);
      done.resolve();
    }
  }
}
