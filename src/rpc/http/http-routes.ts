import { bytesWithin } from "../../core/bytes.ts";
import { Reason, Refusal } from "../../core/refusal.ts";
import { orAborted } from "../call/abort.ts";
import type { RequestContext } from "../call/context.ts";
import { refusalOfHandler } from "../call/outcome.ts";
import { readBody } from "./body.ts";
import type { Exchange } from "./exchange.ts";
import { type HttpResponse, refuse, writeResponse } from "./http-response.ts";
import { RequestHeaders } from "./request-headers.ts";

export type { HttpResponse };

/** A document or endpoint that is plain HTTP, such as `/.well-known/omi` or a JWKS. */
export type HttpRoute = {
  /** HEAD is answered wherever GET is. */
  readonly method: "GET" | "POST";
  /** The whole path, without query; or, with a `*` at its end, what the path starts with. The path of an RPC stays the RPC's. */
  readonly path: string;
  /** A Refusal that it throws becomes the HTTP status of its code, with the JSON of a Connect error as body. */
  handler(request: HttpRequest): HttpResponse | Promise<HttpResponse>;
};

/** A request to an {@link HttpRoute}. */
export type HttpRequest = {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly header: Headers;
  /** At most `maxMessageBytes`; empty for GET. */
  readonly body: Uint8Array;
  readonly context: RequestContext;
};

/** The route of a request, or undefined. */
export function findRoute(
  routes: readonly HttpRoute[],
  method: string | undefined,
  path: string,
): HttpRoute | undefined {
  const wanted = method === "HEAD" ? "GET" : method;
  return routes.find((route) => route.method === wanted && matches(route.path, path));
}

function matches(pattern: string, path: string): boolean {
  return pattern.endsWith("*") ? path.startsWith(pattern.slice(0, -1)) : path === pattern;
}

/** Has a route answer a request, within the time that `arriving` leaves for all of it. */
export function answerRoute(route: HttpRoute, exchange: Exchange, maxMessageBytes: number): void {
  const { request, response, call, received, arriving: signal } = exchange;
  const answer = async () => {
    if (call.refuseWith !== undefined) throw call.refuseWith;
    const body = route.method === "POST" ? readBody(request, signal, received) : [];
    return route.handler({
      path: call.method,
      query: new URLSearchParams(request.url?.split("?", 2)[1]),
      header: new RequestHeaders(request.headers),
      body: await bytesWithin(body, maxMessageBytes, () => tooLarge(maxMessageBytes)),
      context: { requestId: call.requestId, peer: call.peer, log: call.log, signal },
    });
  };
  orAborted(answer(), signal)
    .then((found) => writeResponse(response, found))
    .catch((error: unknown) => refuse(call, refusalOfHandler(error, call, signal), response))
    .catch((error: unknown) => call.log.debug({ err: error, method: call.method }, "the caller is gone"));
}

function tooLarge(limit: number): Refusal {
  return new Refusal(Reason.TOO_LARGE, "body too large", { metadata: { limit: `${limit}` } });
}
