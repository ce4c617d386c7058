import { type ContextKey, createContextKey, type HandlerContext } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { Refusal } from "../../core/refusal.ts";

/** What a handler knows about the call beside the message. */
export type RequestContext = {
  /** Names the call in logs and in the `x-request-id` header of the answer; the caller may have chosen it. */
  readonly requestId: string;
  /**
   * The IP address that the call comes from, for rate limits: that of the other end of the connection, or what a trusted
   * proxy there says. IPv4 in its own form, never mapped into IPv6.
   */
  readonly peer: string;
  /** Every line holds the request ID. */
  readonly log: Logger;
  /** Aborted when nobody waits for the answer any longer: deadline, caller gone, or a stream ended by the server's stop. */
  readonly signal: AbortSignal;
};

/** One call, from its first byte to its line in the access log. */
export type Call = Omit<RequestContext, "signal"> & {
  /** The path that was called, for an RPC `/<service>/<method>`. */
  readonly method: string;
  /** `connect`, `grpc`, `grpc-web`, or `http` for what is no RPC. */
  protocol: string;
  /** True for an RPC that can change nothing, by its contract. */
  readOnly: boolean;
  /** True once an interceptor has the call: then its unary request was read, and what fails is the handler's doing. */
  entered: boolean;
  /** True once nobody can be answered any more: the connection or the stream was cut, or the call is over. */
  gone?: boolean;
  /** Ends the wait for the rest of the one message that the call is asked with. */
  stopReading?: (reason: unknown) => void;
  /** Set before the handler runs: the call ends with it, whatever the method. */
  refuseWith?: Refusal | undefined;
  /** How the call ended, if not well. */
  refusal?: Refusal | undefined;
};

/** A call that has just come. Its logger is made when there is something to tell. */
export function createCall(
  logger: Logger,
  known: Pick<Call, "requestId" | "peer" | "method" | "protocol" | "readOnly">,
): Call {
  let log: Logger | undefined;
  return {
    ...known,
    entered: false,
    get log() {
      log ??= logger.child({ requestId: known.requestId });
      return log;
    },
  };
}

/** Where connect carries the {@link Call}. */
export const callKey: ContextKey<Call | undefined> = createContextKey<Call | undefined>(undefined, {
  description: "call",
});

/**
 * The request context of a handler.
 *
 * @throws Error if the handler was not called by a server of `createServer`
 */
export function requestContext(context: HandlerContext): RequestContext {
  const call = callOf(context.values);
  const { requestId, peer } = call;
  return {
    requestId,
    peer,
    // Made when they are asked for, which they seldom are.
    get log() {
      return call.log;
    },
    get signal() {
      return context.signal;
    },
  };
}

/** The {@link Call} behind a handler's or interceptor's context values. */
export function callOf(values: HandlerContext["values"]): Call {
  const call = values.get(callKey);
  if (call === undefined) throw new Error("no request context: the handler runs outside of createServer");
  return call;
}
