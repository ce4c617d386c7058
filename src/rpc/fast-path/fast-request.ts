import type { IncomingHttpHeaders } from "node:http";
import type { DescMethodServerStreaming, DescMethodUnary } from "@bufbuild/protobuf";
import { fromBase64Url } from "../../core/bytes.ts";
import { isCacheable } from "../call/contract.ts";
import { timeoutHeader, timeoutOf } from "../call/deadline.ts";
import type { Limits } from "../call/limits.ts";
import { areHeadersWithin } from "../http/header-size.ts";

/** What a GET asks, all of it in its URL. */
type Question = {
  readonly method: DescMethodUnary;
  readonly path: string;
  readonly message: Buffer;
  /** The message as a {@link ReadyAnswers.kept} takes it. */
  readonly key: string;
};

/** The head of a request that says nothing that only connect can answer. */
export type FastHead = UnaryHead | StreamHead;

/** Of a request for one answer. */
export type UnaryHead = CommonHead & {
  readonly kind: "grpc" | "post" | "get";
  readonly method: DescMethodUnary;
  /** Of a GET. */
  readonly question: Question | undefined;
};

/** Of a request for a stream, in gRPC. */
export type StreamHead = CommonHead & {
  readonly kind: "stream";
  readonly method: DescMethodServerStreaming;
};

type CommonHead = {
  /** The path without query: `/<service>/<method>`. */
  readonly path: string;
  /** The host, and its port if it has one. */
  readonly authority: string;
  /** True if connect would compress a large answer to this caller. */
  readonly compressible: boolean;
  /** The caller's deadline in milliseconds; Infinity if there is none. */
  readonly timeoutMs: number;
  readonly headers: IncomingHttpHeaders;
};

/**
 * Tells whether a request may take the fast path, by its head alone.
 *
 * @param url - path and query
 * @param rawHeaders - names and values in turn
 */
export type HeadReader = (
  verb: string | undefined,
  url: string | undefined,
  authority: string | undefined,
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
) => FastHead | undefined;

const GRPC_TYPES: ReadonlySet<unknown> = new Set(["application/grpc", "application/grpc+proto"]);
const CONNECT_TYPE = "application/proto";

/** Makes a {@link HeadReader} for some methods, by their paths. */
export function createHeadReader(
  methods: ReadonlyMap<string, DescMethodUnary | DescMethodServerStreaming>,
  limits: Pick<Limits, "maxHeaderBytes">,
): HeadReader {
  // Sought once, as protobuf takes longer to read the mark than to decode a request.
  const cacheable = new Map<string, DescMethodUnary>();
  for (const [path, method] of methods) if (isCacheable(method)) cacheable.set(path, method);
  const isAuthority = remember((authority) => URL.canParse(`http://${authority}`) && !/[/?#\\]/.test(authority));
  const questionOf = remember((url): Question | undefined => {
    const mark = url.indexOf("?");
    const path = url.slice(0, mark);
    const method = cacheable.get(path);
    if (mark < 0 || method === undefined) return;
    const message = messageOfQuery(url.slice(mark + 1));
    return message && { method, path, message, key: message.toString("latin1") };
  });

  return (verb, url, authority, headers, rawHeaders) => {
    if (url === undefined || authority === undefined) return;
    const get = verb === "GET";
    if (!get && verb !== "POST") return;
    const question = get ? questionOf(url) : undefined;
    const method = get ? question?.method : methods.get(url);
    if (method === undefined || !isAuthority(authority)) return;
    if (!areHeadersWithin(rawHeaders, limits)) return;

    const grpc = !get && GRPC_TYPES.has(headers["content-type"]);
    if (!get && !grpc && headers["content-type"] !== CONNECT_TYPE) return;
    // What the body of a GET says has no meaning, but somebody has to read it.
    if (get && (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined)) return;
    if (!get && !isIdentity(headers[grpc ? "grpc-encoding" : "content-encoding"])) return;

    const timeout = headers[timeoutHeader(grpc)];
    const timeoutMs = Array.isArray(timeout) ? Number.NaN : timeoutOf(timeout, grpc);
    if (!(timeoutMs >= 1)) return;
    const compressible = !get && acceptsGzip(headers[grpc ? "grpc-accept-encoding" : "accept-encoding"]);
    if (method.methodKind === "server_streaming") {
      return grpc ? { kind: "stream", method, path: url, authority, compressible, timeoutMs, headers } : undefined;
    }
    return {
      kind: grpc ? "grpc" : get ? "get" : "post",
      method,
      path: question?.path ?? url,
      authority,
      question,
      compressible,
      timeoutMs,
      headers,
    };
  };
}

function isIdentity(encoding: string | string[] | undefined): boolean {
  return encoding === undefined || encoding === "identity";
}

function acceptsGzip(accepted: string | string[] | undefined): boolean {
  return typeof accepted === "string" && accepted.split(",").some((name) => name.trim() === "gzip");
}

/** The message in a query of exactly the form that Connect's clients write for binary messages. */
function messageOfQuery(query: string): Buffer | undefined {
  let encoding: string | undefined;
  let base64: string | undefined;
  let message: string | undefined;
  for (const pair of query.split("&")) {
    const value = pair.slice(pair.indexOf("=") + 1);
    switch (pair.slice(0, -value.length - 1)) {
      case "encoding":
        if (encoding !== undefined) return;
        encoding = value;
        break;
      case "base64":
        if (base64 !== undefined) return;
        base64 = value;
        break;
      case "message":
        if (message !== undefined) return;
        message = value;
        break;
      case "connect":
        if (value !== "v1") return;
        break;
      default:
        return;
    }
  }
  if (encoding !== "proto" || base64 !== "1" || message === undefined) return;
  const bytes = fromBase64Url(message);
  return bytes && Buffer.from(bytes);
}

const MAX_REMEMBERED = 4096;
const MAX_REMEMBERED_LENGTH = 512;

// Clients call a server by few hosts, and ask much the same. What is remembered takes a few megabytes at most.
function remember<Value>(find: (text: string) => Value): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    let value = known.get(text);
    if (value === undefined) {
      value = find(text);
      if (text.length > MAX_REMEMBERED_LENGTH) return value;
      if (known.size >= MAX_REMEMBERED) known.clear();
      known.set(text, value);
    }
    return value;
  };
}
