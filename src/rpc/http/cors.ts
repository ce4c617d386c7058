import { cors } from "@connectrpc/connect";
import type { NodeServerRequest, NodeServerResponse } from "./node-http.ts";

/** Which web pages may call the server from a browser. */
export type CorsOptions = {
  /** Origins such as `https://shop.example`, compared exactly; `*` for every page. Calls never carry cookies. */
  readonly allowedOrigins: readonly string[];
};

const METHODS = cors.allowedMethods.join(", ");
const REQUEST_HEADERS = [...cors.allowedHeaders, "Authorization", "X-Request-Id"].join(", ");
const RESPONSE_HEADERS = [...cors.exposedHeaders, "X-Request-Id"].join(", ");
const PREFLIGHT_SECONDS = "7200"; // the longest that Chromium keeps a preflight's answer

/**
 * The headers that let an allowed page call and read the answer (Fetch standard, section 3.2).
 *
 * @param preflight - true for the answer to a preflight request
 */
export function corsHeaders(
  { allowedOrigins }: CorsOptions,
  origin: string | undefined,
  preflight: boolean,
): Record<string, string> {
  const headers: Record<string, string> = { vary: "Origin" };
  const allowed = ["*", origin ?? ""].find((candidate) => allowedOrigins.includes(candidate));
  if (origin === undefined || allowed === undefined) return headers;
  headers["access-control-allow-origin"] = allowed;
  if (preflight) {
    headers["access-control-allow-methods"] = METHODS;
    headers["access-control-allow-headers"] = REQUEST_HEADERS;
    headers["access-control-max-age"] = PREFLIGHT_SECONDS;
  } else {
    headers["access-control-expose-headers"] = RESPONSE_HEADERS;
  }
  return headers;
}

/**
 * Writes the {@link corsHeaders} of an answer, and answers a preflight request.
 *
 * @returns true if the request was a preflight and is answered
 */
export function answerCors(options: CorsOptions, request: NodeServerRequest, response: NodeServerResponse): boolean {
  const preflight = request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  const headers = corsHeaders(options, request.headers.origin, preflight);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (preflight) {
    response.writeHead(204);
    response.end();
  }
  return preflight;
}
