import type { Call } from "./context.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";

/** A request that is being answered. */
export type Exchange = {
  readonly request: NodeServerRequest;
  readonly response: NodeServerResponse;
  readonly call: Call;
  /** Aborted when the request takes too long to arrive, or when the exchange is over. */
  readonly arriving: AbortSignal;
};
