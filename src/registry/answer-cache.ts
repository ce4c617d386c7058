/** What {@link AnswerCache} keeps beside a value. */
interface Slot<Value> {
  readonly of: Map<string, Slot<Value>>;
  readonly key: string;
  readonly value: Value;
  readonly subjects: readonly string[];
  readonly bytes: number;
  /** True if it was read since the hand last passed. */
  used: boolean;
}

// What a slot costs beside its key and the bytes of its value: objects, map and index entries. Measured, rounded up.
const SLOT_BYTES = 1000;

/**
 * Keeps values by kind and key, each with the subjects that it speaks of, in a bounded amount of memory. When there is no room, a
 * hand goes around and drops what was not read since it passed the last time (the clock algorithm): like "least recently
 * used", but a read costs nothing more than a lookup.
 */
export class AnswerCache<Value> {
  readonly #maxBytes: number;
  readonly #kinds = new Map<object, Map<string, Slot<Value>>>();
  /** In the order in which they came. */
  readonly #slots = new Set<Slot<Value>>();
  /** Most subjects are those of one value, for which a set would take a fifth of what a slot costs. */
  readonly #bySubject = new Map<string, Slot<Value> | Set<Slot<Value>>>();
  #bytes = 0;
  #hand: Iterator<Slot<Value>> = this.#slots.values();

  /** @param maxBytes - bound on the memory for all values together; an estimate, not exact to the byte */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The number of values. */
  get size(): number {
    return this.#slots.size;
  }

  get(kind: object, key: string): Value | undefined {
    const slot = this.#kinds.get(kind)?.get(key);
    if (slot === undefined) return undefined;
    slot.used = true;
    return slot.value;
  }

  /**
   * Keeps a value, if there is room for it at all.
   *
   * @param kind - one of a few
   * @param bytes - the size of the value
   * @param subjects - what it speaks of: it goes when one of them changes
   */
  set(kind: object, key: string, value: Value, bytes: number, subjects: readonly string[]): void {
    let of = this.#kinds.get(kind);
    if (of === undefined) {
      of = new Map();
      this.#kinds.set(kind, of);
    }
    const before = of.get(key);
    if (before !== undefined) this.#remove(before);
    const slot = { of, key, value, subjects, bytes: SLOT_BYTES + 2 * key.length + bytes, used: false };
    if (slot.bytes > this.#maxBytes) return;
    of.set(key, slot);
    this.#slots.add(slot);
    this.#bytes += slot.bytes;
    for (const subject of subjects) {
      const before = this.#bySubject.get(subject);
      if (before === undefined) this.#bySubject.set(subject, slot);
      else if (before instanceof Set) before.add(slot);
      else this.#bySubject.set(subject, new Set([before, slot]));
    }
    while (this.#bytes > this.#maxBytes) this.#turnHand();
  }

  /** Drops all values that speak of a subject. */
  drop(subject: string): void {
    const slots = this.#bySubject.get(subject);
    if (slots instanceof Set) for (const slot of slots) this.#remove(slot);
    else if (slots !== undefined) this.#remove(slots);
  }

  #turnHand(): void {
    const { value: slot, done } = this.#hand.next();
    if (done === true) this.#hand = this.#slots.values();
    else if (slot.used) slot.used = false;
    else this.#remove(slot);
  }

  #remove(slot: Slot<Value>): void {
    slot.of.delete(slot.key);
    this.#slots.delete(slot);
    this.#bytes -= slot.bytes;
    for (const subject of slot.subjects) {
      const slots = this.#bySubject.get(subject);
      if (slots instanceof Set) slots.delete(slot);
      if (!(slots instanceof Set) || slots.size === 0) this.#bySubject.delete(subject);
    }
  }
}
