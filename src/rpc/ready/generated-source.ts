import type { MessageSource } from "./ready-streams.ts";

/**
 * A source of what a generator yields, for streams that have to wait for more than a wake-up between two messages. It costs
 * some memory more than a source that is written as one.
 *
 * @param generate - makes the generator, which yields gRPC frames; its signal aborts when the stream is over
 * @param wake - of the stream
 */
export function generatedSource(
  generate: (signal: AbortSignal) => AsyncGenerator<Uint8Array>,
  wake: () => void,
): MessageSource {
  const over = new AbortController();
  const frames = generate(over.signal);
  let asked = false;
  /** What the generator came up with: gives or throws it. */
  let outcome: (() => IteratorResult<Uint8Array>) | undefined;
  const settle = (came: typeof outcome) => {
    outcome = came;
    asked = false;
    wake();
  };
  return {
    next() {
      if (outcome !== undefined) {
        const result = outcome();
        outcome = undefined;
        return result.done === true ? "end" : result.value;
      }
      if (!asked) {
        asked = true;
        frames.next().then(
          (result) => settle(() => result),
          (error: unknown) =>
            settle(() => {
              throw error;
            }),
        );
      }
      return "later";
    },
    close() {
      over.abort();
      frames.return(undefined).catch(() => {});
    },
  };
}
