import { Code, ConnectError, createContextValues } from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Logger } from "pino";
import type { Clock } from "../core/clock.ts";
import type { Random } from "../core/random.ts";
import { Reason, Refusal } from "../core/refusal.ts";
import { orAborted } from "./abort.ts";
import { logWhenDone } from "./access-log.ts";
import { discardBodyAfter, readBody } from "./body.ts";
import { type Call, callKey } from "./context.ts";
import { answerCors, type CorsOptions } from "./cors.ts";
import { boundDeadline } from "./deadline.ts";
import type { Handlers } from "./handlers.ts";
import { findRoute, type HttpRoute, httpRefusal, readAll, writeResponse } from "./http-routes.ts";
import type { Limits } from "./limits.ts";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";
import { notImplemented, refusalOfHandler } from "./outcome.ts";
import { requestIdOf } from "./request-id.ts";

/** Answers one request, of any protocol and HTTP version. */
export type Dispatch = (request: NodeServerRequest, response: NodeServerResponse) => void;

type DispatchOptions = {
  readonly handlers: Handlers;
  readonly httpRoutes: readonly HttpRoute[];
  readonly cors: CorsOptions | undefined;
  readonly limits: Limits;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** True once the server stops: then nothing new is started. */
  readonly stopping: () => boolean;
};

/** Builds the one function that every request passes: to a plain HTTP route, to connect, or to a refusal. */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { handlers, httpRoutes, cors, limits, clock } = options;
  return (request, response) => {
    const call = begin(request, options);
    response.setHeader("x-request-id", call.requestId);
    logWhenDone(call, request, response, clock);
    if (cors !== undefined && answerCors(cors, request, response)) return;

    // Bounds the time that a request takes to arrive, except for the messages of a client's stream.
    const arriving = new AbortController();
    const cancel = clock.setTimer(limits.maxDeadlineMs, () =>
      arriving.abort(new ConnectError("the request took too long", Code.DeadlineExceeded)),
    );
    response.once("close", () => {
      cancel();
      arriving.abort();
    });
    discardBodyAfter(response, request);

    call.refuseWith = refusalOfArrival(request, options);
    const route = findRoute(httpRoutes, request.method, call.method);
    if (route !== undefined) return answerRoute(route, request, response, call, limits, arriving.signal);
    const handler = handlers.get(call.method);
    if (handler !== undefined) return answerRpc(handler, request, response, call, limits, arriving.signal);

    call.refuseWith ??= notImplemented(call.method);
    const errors = handlers.forErrors(request.method, request.headers["content-type"] ?? "");
    if (errors !== undefined) return answerRpc(errors, request, response, call, limits, arriving.signal);
    refuse(call, call.refuseWith, response);
  };
}

function begin(request: NodeServerRequest, { logger, random }: DispatchOptions): Call {
  const requestId = requestIdOf(request.headers["x-request-id"], random);
  return {
    requestId,
    peer: request.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, "") ?? "",
    log: logger.child({ requestId }),
    method: request.url?.split("?", 1)[0] ?? "",
    protocol: "http",
    entered: false,
  };
}

// What is refused whatever was called.
function refusalOfArrival(request: NodeServerRequest, { stopping, limits }: DispatchOptions): Refusal | undefined {
  if (stopping()) return new Refusal(Reason.SHUTTING_DOWN, "the server is stopping");
  // In HTTP/1.1 the parser has already seen to this; in HTTP/2 Node's own bound is 64 KiB.
  const headerBytes = request.rawHeaders.reduce((sum, text) => sum + text.length, 0);
  if (headerBytes <= limits.maxHeaderBytes) return;
  return new Refusal(Reason.TOO_LARGE, "headers too large", { metadata: { limit: `${limits.maxHeaderBytes}` } });
}

function answerRpc(
  handler: UniversalHandler,
  request: NodeServerRequest,
  response: NodeServerResponse,
  call: Call,
  limits: Limits,
  arriving: AbortSignal,
): void {
  let universal: UniversalServerRequest;
  try {
    const values = createContextValues().set(callKey, call);
    universal = universalRequestFromNodeRequest(request, response, undefined, values);
  } catch {
    refuse(call, new Refusal(Reason.MALFORMED, "the request's address or headers are malformed"), response);
    return;
  }
  const { methodKind } = handler.method;
  if (methodKind === "unary") boundDeadline(universal.header, limits.maxDeadlineMs);
  const whole = methodKind === "unary" || methodKind === "server_streaming";
  const body = readBody(request, whole ? arriving : universal.signal);
  handler({ ...universal, body })
    .then((answer) => {
      if (answer.body === undefined) writeBare(answer, call, response);
      else return universalResponseToNodeResponse(answer, response);
    })
    .catch((error: unknown) => call.log.debug({ err: error, method: call.method }, "the caller is gone"));
}

// connect answers with a mere status where a request does not fit to the RPC's kind.
function writeBare({ status, header }: UniversalServerResponse, call: Call, response: NodeServerResponse): void {
  const refusal =
    status === 415
      ? new Refusal(Reason.MALFORMED, "the content type is none of Connect, gRPC and gRPC-Web for this RPC")
      : status === 405
        ? new Refusal(Reason.UNIMPLEMENTED, "this RPC is not called with this HTTP method")
        : new Refusal(Reason.UNIMPLEMENTED, "this RPC needs HTTP/2");
  const answer = httpRefusal(refusal);
  call.refusal = refusal;
  writeResponse(response, { ...answer, status, headers: { ...Object.fromEntries(header ?? []), ...answer.headers } });
}

function answerRoute(
  route: HttpRoute,
  request: NodeServerRequest,
  response: NodeServerResponse,
  call: Call,
  limits: Limits,
  signal: AbortSignal,
): void {
  const answer = async () => {
    if (call.refuseWith !== undefined) throw call.refuseWith;
    const body = route.method === "POST" ? readBody(request, signal) : [];
    return route.handler({
      path: call.method,
      query: new URLSearchParams(request.url?.split("?", 2)[1]),
      header: headerOf(request),
      body: await readAll(body, limits.maxMessageBytes),
      context: { requestId: call.requestId, peer: call.peer, log: call.log, signal },
    });
  };
  orAborted(answer(), signal)
    .then((found) => writeResponse(response, found))
    .catch((error: unknown) => refuse(call, refusalOfHandler(error, call, signal), response))
    .catch((error: unknown) => call.log.debug({ err: error, method: call.method }, "the caller is gone"));
}

function headerOf(request: NodeServerRequest): Headers {
  const header = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && !name.startsWith(":")) header.set(name, String(value));
  }
  return header;
}

function refuse(call: Call, refusal: Refusal, response: NodeServerResponse): void {
  call.refusal = refusal;
  writeResponse(response, httpRefusal(refusal));
}
