import { unixSeconds } from "../core/clock.ts";
import type { AuthCore } from "./core.ts";

/**
 * Ends the session that a refresh token, used or not, belongs to, and tells it to the app's services; does nothing if there
 * is none. Belongs into a job of the write queue.
 *
 * @returns true if a session ended: wake the listeners after the commit
 */
export function endSession(core: Ending, appId: string, refreshToken: string): boolean {
  const sessionId = core.sessions.end(appId, refreshToken);
  return tell(core, appId, sessionId === undefined ? [] : [sessionId]);
}

/** The same for the oldest sessions of a user who has as many as one may have. */
export function endOldestSessions(core: Ending, appId: string, userId: string): boolean {
  return tell(core, appId, core.sessions.endOldest(appId, userId));
}

type Ending = Pick<AuthCore, "sessions" | "sessionEvents" | "clock">;

function tell({ sessionEvents, clock }: Ending, appId: string, sessionIds: readonly string[]): boolean {
  for (const sessionId of sessionIds) sessionEvents.add(appId, sessionId, unixSeconds(clock));
  return sessionIds.length > 0;
}
