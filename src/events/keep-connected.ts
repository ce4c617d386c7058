import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import { KeyFileError } from "../core/key-file.ts";
import { SetupError } from "./setup-error.ts";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;

/** What {@link keepConnected} needs. */
export interface KeepConnectedOptions {
  /** Who connects, for the log. */
  readonly what: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends it. */
  readonly signal: AbortSignal;
  /**
   * Connects and works until the connection is lost.
   *
   * @param established - to be called once the connection works
   */
  session(established: () => void): Promise<void>;
}

/**
 * Runs one session after the other until the signal aborts. Between two it waits: 250 ms at first, twice as long each time up
 * to 10 s, and 250 ms again after a session that was established. Never rejects.
 */
export async function keepConnected({ what, clock, logger, signal, session }: KeepConnectedOptions): Promise<void> {
  let waitMs = FIRST_WAIT_MS;
  while (!signal.aborted) {
    let established = false;
    let failure: unknown;
    try {
      await session(() => {
        established = true;
        logger.info({ what }, "connected");
      });
    } catch (error) {
      failure = error;
    }
    if (signal.aborted) return;
    if (established) waitMs = FIRST_WAIT_MS;
    report(failure, waitMs);
    await pause(clock, waitMs, signal);
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  }

  function report(err: unknown, retryMs: number): void {
    if (err instanceof SetupError || err instanceof KeyFileError) {
      logger.error({ what, err, nextStep: err.nextStep, retryMs }, "set up wrongly");
    } else {
      logger.warn({ what, retryMs, ...(err === undefined ? {} : { err }) }, "not connected");
    }
  }
}

function pause(clock: Clock, milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.setTimer(milliseconds, done);
    signal.addEventListener("abort", done, { once: true });
  });
}

/** Resolves when one of `ends` does, or the signal aborts. The signal, which may outlive many connections, keeps nothing of it. */
export async function endedOrAborted(ends: readonly Promise<void>[], signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort);
  try {
    await Promise.race([...ends, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
