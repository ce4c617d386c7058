import type { Call } from "../call/context.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";
import type { Received } from "./small-body.ts";

/** A request that is being answered. */
export type Exchange = {
  readonly request: NodeServerRequest;
  readonly response: NodeServerResponse;
  readonly call: Call;
  /** What was read of the request's body before. */
  readonly received: Received | undefined;
  /** Milliseconds since the request's head came. */
  readonly elapsedMs: number;
  /** Aborted when the request takes too long to arrive, or when the exchange is over. */
  readonly arriving: AbortSignal;
};
