import { Code } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { Reason, Refusal } from "../core/refusal.ts";
import type { RequestContext } from "./context.ts";
import { connectErrorOf } from "./errors.ts";
import type { NodeServerResponse } from "./node-http.ts";

/** A document or endpoint that is plain HTTP, such as `/.well-known/omi` or a JWKS. */
export type HttpRoute = {
  /** HEAD is answered wherever GET is. */
  readonly method: "GET" | "POST";
  /** The whole path, without query; or, with a `*` at its end, what the path starts with. */
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

/** The answer of an {@link HttpRoute}. */
export type HttpResponse = {
  /** 200 if absent. */
  readonly status?: number;
  /** `content-type` among them; `content-length` is added. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
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

/** Reads a small body. Throws TOO_LARGE beyond `maxBytes`. */
export async function readAll(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBytes)
      throw new Refusal(Reason.TOO_LARGE, "body too large", { metadata: { limit: `${maxBytes}` } });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Writes an answer; to HEAD, Node leaves the body out. */
export function writeResponse(response: NodeServerResponse, { status = 200, headers, body }: HttpResponse): void {
  const bytes = Buffer.from(body as Uint8Array);
  response.writeHead(status, { ...headers, "content-length": bytes.length });
  response.end(bytes);
}

/** A refusal as the JSON of a Connect error, with the HTTP status that belongs to it. */
export function httpRefusal(refusal: Refusal): Required<HttpResponse> {
  const error = connectErrorOf(refusal);
  return {
    // Connect says 501 for a path that is no RPC; for what is no RPC at all, 404 is meant.
    status: error.code === Code.Unimplemented ? 404 : codeToHttpStatus(error.code),
    headers: { "content-type": "application/json" },
    body: errorToJsonBytes(error, undefined),
  };
}
