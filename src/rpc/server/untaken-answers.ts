import type { Duplex } from "node:stream";
import type { Clock } from "../../core/clock.ts";

/** A connection, and the answers that were not sent over it yet. */
export type Answering<A> = { readonly socket: Duplex; readonly answers: ReadonlySet<A> };

/**
 * Cuts answers that their callers don't take: who doesn't read would otherwise hold their bytes, and a connection, for as long
 * as he likes. Once an answer is at its end its caller has at least `takeMs`, and at most twice that. What has no end yet, such
 * as a stream, is not looked at.
 *
 * @param options.cut - called again for an answer that is still there `takeMs` later
 * @param options.takeMs - in milliseconds
 * @returns stops it
 */
export function cutUntakenAnswers<A extends { readonly writableEnded: boolean }>(options: {
  readonly connections: () => Iterable<Answering<A>>;
  readonly cut: (answer: A, socket: Duplex) => void;
  readonly takeMs: number;
  readonly clock: Clock;
}): () => void {
  const { connections, cut, takeMs, clock } = options;
  let ended = new Set<A>();
  let cancel = clock.setTimer(takeMs, look);

  // Two looks, instead of a time for each answer, which would cost every one of them.
  function look(): void {
    const before = ended;
    ended = new Set();
    for (const { socket, answers } of connections()) {
      for (const answer of answers) {
        if (!answer.writableEnded) continue;
        ended.add(answer);
        if (before.has(answer)) cut(answer, socket);
      }
    }
    cancel = clock.setTimer(takeMs, look);
  }

  return () => cancel();
}
