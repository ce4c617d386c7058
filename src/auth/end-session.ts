import { unixSeconds } from "../core/clock.ts";
import type { AuthCore } from "./core.ts";

/**
 * Ends the session that a refresh token, used or not, belongs to, and tells it to the app's services; does nothing if there
 * is none. Belongs into a job of the write queue; wake the listeners after its commit.
 */
export function endSession(
  { sessions, sessionEvents, clock }: Pick<AuthCore, "sessions" | "sessionEvents" | "clock">,
  appId: string,
  refreshToken: string,
): void {
  const sessionId = sessions.end(appId, refreshToken);
  if (sessionId !== undefined) sessionEvents.add(appId, sessionId, unixSeconds(clock));
}
