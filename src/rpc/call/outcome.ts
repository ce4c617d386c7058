import { Code, ConnectError } from "@connectrpc/connect";
import { Reason, Refusal } from "../../core/refusal.ts";
import type { Call } from "./context.ts";
import { connectErrorOf, internalRefusal, RemoteRefusal, turnInto } from "./errors.ts";

/**
 * What a call ends with whose handler threw `error`: the Refusal, if it is our own; INTERNAL for all else, with the cause
 * in the log. A ConnectError counts as "all else": it comes from a call to somebody else, and passing it on would tell
 * our caller that party's words as ours.
 */
export function outcomeOfHandler(error: unknown, call: Call, signal: AbortSignal): ConnectError {
  call.refusal = refusalOfHandler(error, call, signal);
  return connectErrorOf(call.refusal);
}

/** The Refusal of {@link outcomeOfHandler}. */
export function refusalOfHandler(
  error: unknown,
  call: Pick<Call, "requestId" | "method" | "log">,
  signal?: AbortSignal,
): Refusal {
  if (error instanceof Refusal && !(error instanceof RemoteRefusal)) return error;
  if (signal?.aborted) return refusalOfAbort(signal.reason);
  if (isNotImplemented(error, call.method)) return notImplemented(call.method);
  call.log.error({ err: error, method: call.method }, "handler failed");
  return internalRefusal(call.requestId);
}

function refusalOfAbort(reason: unknown): Refusal {
  if (reason instanceof Refusal) return reason;
  // Either the deadline, or the caller is gone and nobody reads this.
  return new Refusal(Reason.DEADLINE_EXCEEDED, "the deadline has passed");
}

// connect puts this error in the place of a method that a service lacks.
function isNotImplemented(error: unknown, method: string): boolean {
  return (
    error instanceof ConnectError &&
    error.code === Code.Unimplemented &&
    !error.isWireError &&
    error.rawMessage === `${method.slice(1).replace("/", ".")} is not implemented`
  );
}

/** The refusal of a path that is no RPC of this server. */
export function notImplemented(method: string): Refusal {
  return new Refusal(Reason.UNIMPLEMENTED, "no such RPC", { metadata: { method } });
}

/** The refusal of a request that could not be read; `error` is connect's, or the socket's if the request was cut. */
export function refusalOfReading(error: unknown, maxMessageBytes: number): Refusal {
  const { code, rawMessage } =
    error instanceof ConnectError ? error : new ConnectError("the request was cut", Code.Aborted);
  switch (code) {
    case Code.ResourceExhausted:
      return new Refusal(Reason.TOO_LARGE, rawMessage, { metadata: { limit: `${maxMessageBytes}` } });
    case Code.DeadlineExceeded:
      return new Refusal(Reason.DEADLINE_EXCEEDED, rawMessage);
    case Code.Unimplemented:
      return new Refusal(Reason.UNIMPLEMENTED, rawMessage);
    default:
      return new Refusal(Reason.MALFORMED, rawMessage);
  }
}

/**
 * Gives an error that connect is about to write an ErrorDetail, if it has none yet.
 *
 * connect rejects some requests before it calls an interceptor (what is not a message, too large, a deadline that has
 * passed, an unknown compression). In every protocol such an error passes one place that we see: connect aborts the
 * call's signal with the error as the reason, and then writes that same object. A test covers each protocol.
 *
 * Out of reach are requests that never become a call: what the HTTP/1.1 parser refuses (see http1.ts), headers beyond
 * Node's own bound in HTTP/2 (the stream is reset), and what does not fit to the RPC's kind (see answer-rpc.ts).
 */
export function describeProtocolError(reason: unknown, call: Call, maxMessageBytes: number): void {
  if (!(reason instanceof ConnectError) || reason.details.length > 0) return;
  if (call.gone === true || GONE.has(reason.code)) return;
  if (call.entered && reason.code !== Code.DeadlineExceeded) {
    call.log.error({ err: reason, method: call.method }, "the answer could not be written");
    call.refusal = internalRefusal(call.requestId);
  } else {
    call.refusal = refusalOfReading(reason, maxMessageBytes);
  }
  turnInto(reason, call.refusal);
}

const GONE: ReadonlySet<Code> = new Set([Code.Canceled, Code.Aborted]);
