import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { reasonName } from "../../core/refusal.ts";
import type { Call } from "../call/context.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";

/** What of a call stands in its line. Nothing of a caller's query (a Connect GET carries its message there), headers or body. */
export type LoggedCall = Pick<Call, "requestId" | "method" | "protocol" | "peer" | "readOnly" | "refusal">;

/** How the answer to a call went out. */
export type Ending = {
  /** `1.1` or `2.0`. */
  readonly http: string;
  /** The HTTP status. */
  readonly status: number;
  /** True if the connection or the stream ended before the answer did. */
  readonly cut: boolean;
  /** When the call came, in milliseconds since 1970. */
  readonly start: number;
};

/**
 * Writes the line of a call that is over: what was called, how it ended (`ok`, the name of a Reason, or `cut`), how long it
 * took in milliseconds. Calls that went well and could change nothing are too many for a log that people read: they appear
 * at level debug only.
 */
export type AccessLog = (call: LoggedCall, ending: Ending) => void;

/** Creates an access log that writes to `logger`. */
export function createAccessLog(logger: Logger, clock: Clock): AccessLog {
  // Looking for fields with the names of secrets takes several times as long as writing the line, which has none.
  const log = logger.child({}, { redact: [] });
  return ({ requestId, method, protocol, peer, readOnly, refusal }, { http, status, cut, start }) => {
    const outcome = cut ? "cut" : refusal === undefined ? "ok" : reasonName(refusal.reason);
    const line = { requestId, method, protocol, http, peer, status, outcome, ms: clock.now() - start };
    if (readOnly && outcome === "ok") log.debug(line, "call");
    else log.info(line, "call");
  };
}

/** Has a call's line written when its answer is out, or nobody is there to take it. */
export function logWhenDone(
  accessLog: AccessLog,
  call: LoggedCall,
  request: NodeServerRequest,
  response: NodeServerResponse,
  start: number,
): void {
  response.once("close", () => {
    const status = response.statusCode;
    accessLog(call, { http: request.httpVersion, status, cut: wasCut(request, response), start });
  });
}

function wasCut(request: NodeServerRequest, response: NodeServerResponse): boolean {
  return "stream" in request ? request.stream.rstCode !== 0 : !response.writableFinished;
}
