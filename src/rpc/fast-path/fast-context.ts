import type { IncomingHttpHeaders } from "node:http";
import type { DescMethodUnary, Message } from "@bufbuild/protobuf";
import type { ContextValues, HandlerContext, UnaryRequest, UnaryResponse } from "@connectrpc/connect";
import { RequestHeaders } from "../http/request-headers.ts";

/** What a handler's context is made of. */
export type ContextInit = {
  readonly method: DescMethodUnary;
  readonly protocolName: string;
  readonly values: ContextValues;
  readonly url: () => string;
  readonly timeoutMs: () => number;
  readonly requestHeaders: IncomingHttpHeaders;
  /** What the answer's headers are, unless the handler changes them. */
  readonly responseHeaders: Readonly<Record<string, string>>;
};

/** The context of a unary call, which its server still holds on to. */
export type FastContext = HandlerContext & {
  /** Aborts the signal, if there is one by now, or once there is one. */
  abort(reason: Error): void;
  /** The headers and trailers of the answer, if they were asked for. */
  readonly touched: { header?: Headers; trailer?: Headers };
};

/**
 * Makes a handler's context as connect does, but of what most handlers have no use for (headers, the signal, the URL) only
 * what is asked for.
 */
export function createFastContext(init: ContextInit): FastContext {
  const { method, protocolName, values, timeoutMs } = init;
  const touched: FastContext["touched"] = {};
  let requestHeader: Headers | undefined;
  let controller: AbortController | undefined;
  let aborted: Error | undefined;
  return {
    method,
    service: method.parent,
    requestMethod: "POST",
    protocolName,
    values,
    timeoutMs,
    get url() {
      return init.url();
    },
    get requestHeader() {
      requestHeader ??= new RequestHeaders(init.requestHeaders);
      return requestHeader;
    },
    get responseHeader() {
      touched.header ??= new Headers(init.responseHeaders);
      return touched.header;
    },
    get responseTrailer() {
      touched.trailer ??= new Headers();
      return touched.trailer;
    },
    get signal() {
      if (controller === undefined) {
        controller = new AbortController();
        if (aborted !== undefined) controller.abort(aborted);
      }
      return controller.signal;
    },
    abort(reason) {
      aborted ??= reason;
      controller?.abort(aborted);
    },
    touched,
  };
}

/** The request as interceptors see it. */
export function requestOf(context: FastContext, message: Message): UnaryRequest {
  const { method, service, requestMethod, values } = context;
  return {
    stream: false,
    method: method as DescMethodUnary,
    service,
    requestMethod,
    message,
    contextValues: values,
    get url() {
      return context.url;
    },
    get header() {
      return context.requestHeader;
    },
    get signal() {
      return context.signal;
    },
  };
}

/** The context for a handler whose request an interceptor has put in the place of that of {@link requestOf}. */
export function contextFor(context: FastContext, request: UnaryRequest): HandlerContext {
  const { service, header, signal, contextValues } = request;
  return { ...context, service, requestHeader: header, signal, values: contextValues };
}

/** The answer as interceptors see it. */
export function responseOf(context: FastContext, message: Message): UnaryResponse {
  return {
    stream: false,
    method: context.method as DescMethodUnary,
    service: context.service,
    message,
    get header() {
      return context.responseHeader;
    },
    get trailer() {
      return context.responseTrailer;
    },
  };
}

/** Headers as Node takes them. */
export function nodeHeaders(headers: Headers): Record<string, string | string[]> {
  const given: Record<string, string | string[]> = {};
  for (const [name, value] of headers) {
    const before = given[name];
    given[name] = before === undefined ? value : [before, value].flat();
  }
  return given;
}
