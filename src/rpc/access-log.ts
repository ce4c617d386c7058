import type { Clock } from "../core/clock.ts";
import { reasonName } from "../core/refusal.ts";
import type { Call } from "./context.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";

/**
 * Writes one line when a call is over: what was called, how it ended, how long it took. Never the query (a Connect GET
 * carries its message there), a header or a body.
 */
export function logWhenDone(call: Call, request: NodeServerRequest, response: NodeServerResponse, clock: Clock): void {
  const start = clock.now();
  response.once("close", () => {
    call.log.info(
      {
        method: call.method,
        protocol: call.protocol,
        http: request.httpVersion,
        peer: call.peer,
        status: response.statusCode,
        outcome: wasCut(request, response) ? "cut" : call.refusal ? reasonName(call.refusal.reason) : "ok",
        ms: clock.now() - start,
      },
      "call",
    );
  });
}

function wasCut(request: NodeServerRequest, response: NodeServerResponse): boolean {
  return "stream" in request ? request.stream.rstCode !== 0 : !response.writableFinished;
}
