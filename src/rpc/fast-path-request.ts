import type { IncomingHttpHeaders } from "node:http";
import type { DescMethodUnary } from "@bufbuild/protobuf";
import { fromBase64Url } from "../core/bytes.ts";
import { timeoutHeader, timeoutOf } from "./deadline.ts";
import type { Limits } from "./limits.ts";
import { FRAME_PREFIX_BYTES } from "./ready-answers.ts";

/** A request whose head has nothing that only connect can answer. */
export type FastRequest = {
  readonly method: DescMethodUnary;
  /** The path without query: `/<service>/<method>`. */
  readonly path: string;
  readonly kind: "grpc" | "post" | "get";
  /** The message of a GET. */
  readonly message: Uint8Array | undefined;
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
) => FastRequest | undefined;

const GRPC_TYPES: ReadonlySet<unknown> = new Set(["application/grpc", "application/grpc+proto"]);
const CONNECT_TYPE = "application/proto";

/** Makes a {@link HeadReader} for some methods, by their paths. */
export function createHeadReader(
  methods: ReadonlyMap<string, DescMethodUnary>,
  limits: Pick<Limits, "maxHeaderBytes">,
): HeadReader {
  const isAuthority = remember(
    (authority) => URL.canParse(`http://${authority}`) && !/[/?#\\]/.test(authority),
    MAX_REMEMBERED_LENGTH,
  );
  const messageOf = remember(messageOfQuery, MAX_REMEMBERED_LENGTH);

  return (verb, url, authority, headers, rawHeaders) => {
    if (url === undefined || authority === undefined) return;
    const question = url.indexOf("?");
    const get = verb === "GET";
    if (get ? question < 0 : verb !== "POST" || question >= 0) return;
    const path = get ? url.slice(0, question) : url;
    const method = methods.get(path);
    if (method === undefined || !isAuthority(authority)) return;
    if (lengthOf(rawHeaders) > limits.maxHeaderBytes) return;

    const grpc = !get && GRPC_TYPES.has(headers["content-type"]);
    if (!get && !grpc && headers["content-type"] !== CONNECT_TYPE) return;
    // What the body of a GET says has no meaning, but somebody has to read it.
    if (get && (headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined)) return;
    if (!get && !isIdentity(headers[grpc ? "grpc-encoding" : "content-encoding"])) return;

    const timeout = headers[timeoutHeader(grpc)];
    const timeoutMs = Array.isArray(timeout) ? Number.NaN : timeoutOf(timeout, grpc);
    if (!(timeoutMs >= 1)) return;
    const message = get ? messageOf(url.slice(question + 1)) : undefined;
    if (get && message === undefined) return;
    return {
      method,
      path,
      kind: grpc ? "grpc" : get ? "get" : "post",
      message,
      compressible: !get && acceptsGzip(headers[grpc ? "grpc-accept-encoding" : "accept-encoding"]),
      timeoutMs,
      headers,
    };
  };
}

/** The one message of a gRPC request's body, undefined if it is not one uncompressed message. */
export function messageOfFrame(body: Buffer): Uint8Array | undefined {
  if (body.length < FRAME_PREFIX_BYTES || body[0] !== 0) return;
  return body.readUInt32BE(1) === body.length - FRAME_PREFIX_BYTES ? body.subarray(FRAME_PREFIX_BYTES) : undefined;
}

function lengthOf(texts: readonly string[]): number {
  let length = 0;
  for (const text of texts) length += text.length;
  return length;
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

// Some thousand hosts and questions are asked again and again. To remember them costs at most a few megabytes.
function remember<Value>(find: (text: string) => Value, maxLength: number): (text: string) => Value {
  const known = new Map<string, Value>();
  return (text) => {
    if (text.length > maxLength) return find(text);
    let value = known.get(text);
    if (value === undefined) {
      value = find(text);
      if (known.size >= MAX_REMEMBERED) known.clear();
      known.set(text, value);
    }
    return value;
  };
}
