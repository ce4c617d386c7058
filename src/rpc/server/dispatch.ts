import { Code, ConnectError } from "@connectrpc/connect";
import type { Random } from "../../core/random.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { type Call, createCall } from "../call/context.ts";
import { notImplemented } from "../call/outcome.ts";
import { createRequestIds, type RequestIds } from "../call/request-id.ts";
import { createFastPath, type FastPath } from "../fast-path/fast-path.ts";
import type { FastPathOptions } from "../fast-path/fast-path-options.ts";
import { answerRpc } from "../handlers/answer-rpc.ts";
import type { Handlers } from "../handlers/handlers.ts";
import { createAccessLog, logWhenDone } from "../http/access-log.ts";
import { discardBodyAfter } from "../http/body.ts";
import { answerCors } from "../http/cors.ts";
import { areHeadersWithin, headersTooLarge } from "../http/header-size.ts";
import { refuse } from "../http/http-response.ts";
import { answerRoute, findRoute, type HttpRoute } from "../http/http-routes.ts";
import type { NodeServerRequest, NodeServerResponse } from "../http/node-http.ts";
import type { Received } from "../http/small-body.ts";

/** Answers requests of any protocol and HTTP version. */
export type Dispatch = {
  /** The short way, for most of them. */
  readonly fast: FastPath;
  /**
   * Answers a request.
   *
   * @param received - what was read of its body before
   */
  answer(request: NodeServerRequest, response: NodeServerResponse, received?: Received): void;
};

// Nobody hears of it any more. Without a reason, the signal would make an error with a stack for every call.
const over = new Error("the exchange is over");

type DispatchOptions = Omit<FastPathOptions, "rpcs" | "requestId" | "accessLog"> & {
  readonly handlers: Handlers;
  readonly httpRoutes: readonly HttpRoute[];
  readonly random: Random;
};

/**
 * Builds the function that every request passes, to connect, to a plain HTTP route, or to a refusal; and beside it the
 * fast path.
 */
export function createDispatch(options: DispatchOptions): Dispatch {
  const { handlers, httpRoutes, cors, limits, clock } = options;
  const requestId = createRequestIds(options.random);
  const accessLog = createAccessLog(options.logger, clock);
  const answer: Dispatch["answer"] = (request, response, received) => {
    const now = clock.now();
    const start = received?.waitedSince ?? now;
    const elapsedMs = now - start;
    const call = begin(request, requestId, options);
    response.setHeader("x-request-id", call.requestId);
    logWhenDone(accessLog, call, request, response, start);
    if (cors !== undefined && answerCors(cors, request, response)) return;

    const handler = handlers.get(call.method);
    const isStream = handler !== undefined && handler.method.methodKind !== "unary";
    // Bounds the time that a request takes to arrive, except for the messages of a client's stream.
    const arriving = new AbortController();
    let cancel = clock.setTimer(limits.maxDeadlineMs - elapsedMs, () => {
      arriving.abort(new ConnectError("the request took too long", Code.DeadlineExceeded));
      // connect ends an answer only when its caller has taken what comes before the end.
      if (!isStream) cancel = clock.setTimer(limits.maxDeadlineMs, () => response.destroy());
    });
    response.once("close", () => {
      cancel();
      arriving.abort(over);
    });
    discardBodyAfter(response, request);

    const exchange = { request, response, call, received, elapsedMs, arriving: arriving.signal };
    call.refuseWith = refusalOfArrival(request, options);
    // RPCs first, as on the fast path, which knows no routes.
    if (handler !== undefined) return answerRpc(handler, exchange, limits.maxDeadlineMs);
    const route = findRoute(httpRoutes, request.method, call.method);
    if (route !== undefined) {
      call.readOnly = route.method === "GET";
      return answerRoute(route, exchange, limits.maxMessageBytes);
    }

    call.refuseWith ??= notImplemented(call.method);
    const errors = handlers.forErrors(request.method, request.headers["content-type"] ?? "");
    if (errors !== undefined) return answerRpc(errors, exchange, limits.maxDeadlineMs);
    refuse(call, call.refuseWith, response);
  };
  return { fast: createFastPath({ ...options, rpcs: handlers.unary, requestId, accessLog }), answer };
}

function begin(request: NodeServerRequest, newId: RequestIds, { logger, peerOf }: DispatchOptions): Call {
  return createCall(logger, {
    requestId: newId(request.headers["x-request-id"]),
    peer: peerOf(request.socket.remoteAddress, request.headers),
    method: request.url?.split("?", 1)[0] ?? "",
    protocol: "http",
    readOnly: false,
  });
}

// What is refused whatever was called.
function refusalOfArrival(request: NodeServerRequest, { stopping, limits }: DispatchOptions): Refusal | undefined {
  if (stopping()) return new Refusal(Reason.SHUTTING_DOWN, "the server is stopping");
  return areHeadersWithin(request.rawHeaders, limits) ? undefined : headersTooLarge(limits);
}
