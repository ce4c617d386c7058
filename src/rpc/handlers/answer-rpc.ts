import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { Reason, Refusal } from "../../core/refusal.ts";
import { type Call, callKey } from "../call/context.ts";
import { isCacheable, isReadOnly } from "../call/contract.ts";
import { boundDeadline } from "../call/deadline.ts";
import { refusalOfHandler } from "../call/outcome.ts";
import { readBody } from "../http/body.ts";
import type { Exchange } from "../http/exchange.ts";
import { httpRefusal, refuse } from "../http/http-response.ts";
import { isKnown, NO_STORE } from "../ready/caching.ts";

/** Has connect answer a request, within the server's deadline if the RPC is unary. */
export function answerRpc(handler: UniversalHandler, exchange: Exchange, maxDeadlineMs: number): void {
  const { request, response, call, arriving, received, elapsedMs } = exchange;
  const leave = () => {
    call.gone = true;
  };
  let universal: UniversalServerRequest;
  try {
    const values = createContextValues().set(callKey, call);
    universal = universalRequestFromNodeRequest(request, response, undefined, values);
  } catch {
    refuse(call, new Refusal(Reason.MALFORMED, "the request's address or headers are malformed"), response);
    return;
  }
  // Before connect hears of it, and takes it for a failure that it has to answer with.
  universal.signal.addEventListener("abort", leave, { once: true });
  const { methodKind } = handler.method;
  call.readOnly = isReadOnly(handler.method);
  boundDeadline(universal.header, methodKind === "unary" ? maxDeadlineMs : Number.POSITIVE_INFINITY, elapsedMs);
  // Caches would have to keep a compressed form beside the plain one, and signed answers hardly get smaller.
  if (request.method === "GET" && isCacheable(handler.method)) universal.header.delete("accept-encoding");
  const oneMessage = methodKind === "unary" || methodKind === "server_streaming";
  const body = readBody(request, oneMessage ? untilDeadline(call, arriving) : universal.signal, received);
  handler({ ...universal, body })
    .then((answer) => {
      if (answer.body === undefined) return refuseBare(answer, handler, exchange);
      const known = request.method === "GET" && finishGet(answer, universal.header);
      return universalResponseToNodeResponse(known ? notModified(answer) : answer, response);
    })
    .catch((error: unknown) => {
      if (!response.headersSent) refuse(call, refusalOfHandler(error, call, universal.signal), response);
      else call.log.debug({ err: error, method: call.method }, "the caller left before the answer's end");
    });
}

// A body is waited for no longer than its caller waits: connect looks at the caller's deadline once it has read the message.
function untilDeadline(call: Call, arriving: AbortSignal): AbortSignal {
  const reading = new AbortController();
  call.stopReading = (reason) => reading.abort(reason);
  const late = () => reading.abort(arriving.reason);
  arriving.addEventListener("abort", late, { once: true });
  return reading.signal;
}

// Only an answer that says so may be kept. True if the caller has it already.
function finishGet({ status, header }: UniversalServerResponse, asked: Headers): boolean {
  if (header?.has("cache-control") === false) header.set("cache-control", NO_STORE);
  return status === 200 && isKnown(header?.get("etag"), asked.get("if-none-match"));
}

function notModified({ header }: UniversalServerResponse): UniversalServerResponse {
  const kept = new Headers(header);
  kept.delete("content-type");
  kept.delete("content-length");
  return { status: 304, header: kept };
}

// connect answers with a mere status where a request does not fit to the RPC's kind.
function refuseBare(
  { status, header }: UniversalServerResponse,
  { allowedMethods }: UniversalHandler,
  { call, response }: Exchange,
): void {
  const refusal =
    status === 415
      ? new Refusal(Reason.MALFORMED, "the content type is none of Connect, gRPC and gRPC-Web for this RPC")
      : status === 405
        ? new Refusal(Reason.UNIMPLEMENTED, "this RPC is not called with this HTTP method")
        : new Refusal(Reason.UNIMPLEMENTED, "this RPC needs HTTP/2");
  const headers = {
    ...Object.fromEntries(header ?? []),
    ...httpRefusal(refusal).headers,
    ...(status === 405 && { allow: allowedMethods.join(", ") }), // RFC 9110 section 15.5.6
  };
  refuse(call, refusal, response, { status, headers });
}
