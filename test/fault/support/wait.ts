/** Waits this many milliseconds. */
export function milliseconds(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count));
}

const GIVE_UP_MS = 180_000;
const LOOK_EVERY_MS = 20;

/**
 * Looks again and again until there is something to see.
 *
 * @param look what is to be seen; undefined or false if it isn't there yet
 * @throws after three minutes: nothing that is waited for takes nearly as long, on any machine
 */
export async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const giveUpAt = Date.now() + GIVE_UP_MS;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== null && seen !== false) return seen;
    if (Date.now() > giveUpAt) throw new Error(`in vain waited for: ${what}`);
    await milliseconds(LOOK_EVERY_MS);
  }
}
