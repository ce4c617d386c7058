import { Code } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import type { Refusal } from "../../core/refusal.ts";
import type { Call } from "../call/context.ts";
import { connectErrorOf } from "../call/errors.ts";
import { NO_STORE } from "../ready/caching.ts";
import type { NodeServerResponse } from "./node-http.ts";

/** An answer that connect does not write. */
export type HttpResponse = {
  /** 200 if absent. */
  readonly status?: number;
  /** `content-type` among them; `content-length` is added. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array;
};

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
    headers: { "content-type": "application/json", "cache-control": NO_STORE },
    body: errorToJsonBytes(error, undefined),
  };
}

/** Ends a call with a refusal, outside of connect. `changes` replaces parts of the answer. */
export function refuse(
  call: Call,
  refusal: Refusal,
  response: NodeServerResponse,
  changes: Partial<HttpResponse> = {},
): void {
  call.refusal = refusal;
  writeResponse(response, { ...httpRefusal(refusal), ...changes });
}
