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
 * Writes the headers that let an allowed page call and read the answer (Fetch standard, section 3.2), and answers a
 * preflight request.
 *
 * @returns true if the request was a preflight and is answered
 */
export function answerCors(
  { allowedOrigins }: CorsOptions,
  request: NodeServerRequest,
  response: NodeServerResponse,
): boolean {
  const origin = request.headers.origin;
  const preflight = request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  response.setHeader("Vary", "Origin");
  const allowed = ["*", origin ?? ""].find((candidate) => allowedOrigins.includes(candidate));
  if (origin !== undefined && allowed !== undefined) {
    response.setHeader("Access-Control-Allow-Origin", allowed);
    if (preflight) {
      response.setHeader("Access-Control-Allow-Methods", METHODS);
      response.setHeader("Access-Control-Allow-Headers", REQUEST_HEADERS);
      response.setHeader("Access-Control-Max-Age", PREFLIGHT_SECONDS);
    } else {
      response.setHeader("Access-Control-Expose-Headers", RESPONSE_HEADERS);
    }
  }
  if (preflight) {
    response.writeHead(204);
    response.end();
  }
  return preflight;
}
