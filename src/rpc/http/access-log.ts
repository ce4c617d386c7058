import type { Logger } from "pino";
import type { Clock } from "../../core/clock.ts";
import { reasonName } from "../../core/refusal.ts";
import type { Call } from "../call/context.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";

/** What the access log says of a call that is over. Never the query (a Connect GET carries its message there), a header or a
 * body. */
export type CallLine = {
  readonly requestId: string;
  readonly method: string;
  readonly protocol: string;
  /** `1.1` or `2.0`. */
  readonly http: string;
  readonly peer: string;
  /** The HTTP status. */
  readonly status: number;
  /** `ok`, the name of a Reason, or `cut` if the connection or the stream ended before the answer did. */
  readonly outcome: string;
  readonly ms: number;
};

/**
 * Writes the line of a call.
 *
 * @param readOnly - the call could change nothing. Those that went well are too many for a log that people read:
 *   they appear at level debug only
 */
export type AccessLog = (readOnly: boolean, line: CallLine) => void;

/** Creates an access log that writes to `logger`. */
export function createAccessLog(logger: Logger): AccessLog {
  // Looking for fields with the names of secrets takes several times as long as writing the line, which has none.
  const log = logger.child({}, { redact: [] });
  return (readOnly, line) => {
    if (readOnly && line.outcome === "ok") log.debug(line, "call");
    else log.info(line, "call");
  };
}

/**
 * Writes one line when a call is over: what was called, how it ended, how long it took.
 *
 * @param start - when the call came, in milliseconds since 1970
 */
export function logWhenDone(
  accessLog: AccessLog,
  call: Call,
  request: NodeServerRequest,
  response: NodeServerResponse,
  clock: Clock,
  start: number,
): void {
  response.once("close", () => {
    accessLog(call.readOnly, {
      requestId: call.requestId,
      method: call.method,
      protocol: call.protocol,
      http: request.httpVersion,
      peer: call.peer,
      status: response.statusCode,
      outcome: wasCut(request, response) ? "cut" : call.refusal ? reasonName(call.refusal.reason) : "ok",
      ms: clock.now() - start,
    });
  });
}

function wasCut(request: NodeServerRequest, response: NodeServerResponse): boolean {
  return "stream" in request ? request.stream.rstCode !== 0 : !response.writableFinished;
}
