import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { FastPath, FastReply } from "./fast-path.ts";
import { NO_BODY, type Received } from "./fast-path-body.ts";
import type { UnaryRequest } from "./fast-path-request.ts";
import { isGone } from "./fast-stream.ts";

const GRPC_OK = { "grpc-status": "0" };

/**
 * Answers a request over HTTP/2 on the fast path, or has `slow` do it.
 *
 * @param slow - takes what was already read of the body
 * @param lasts - called if the answer is a stream that lasts
 */
export function answerFastHttp2(
  fast: FastPath,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: readonly string[],
  slow: (received?: Received) => void,
  lasts: () => void,
): void {
  const request = fast.read(headers[":method"], headers[":path"], headers[":authority"], headers, rawHeaders);
  const bodyless = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  if (request === undefined || (request.kind === "get" && !bodyless)) {
    slow();
    return;
  }

  stream.on("error", ignore); // a reset by the peer
  if (request.kind === "stream") {
    fast.readStreamBody(stream, request.timeoutMs, (received) => {
      if (isGone(stream)) return;
      if (!fast.stream(request, received, stream)) return slow(received);
      // The body's reader knows the request, which a long stream should not hold on to.
      stream.removeAllListeners("data").removeAllListeners("end");
      lasts();
    });
  } else if (bodyless) answer(fast, stream, request, NO_BODY, slow);
  else fast.readBody(stream, request.timeoutMs, (received) => answer(fast, stream, request, received, slow));
}

function answer(
  fast: FastPath,
  stream: ServerHttp2Stream,
  request: UnaryRequest,
  received: Received,
  slow: (received?: Received) => void,
): void {
  if (isGone(stream)) return;
  const reply = fast.reply(request, received);
  if (reply === undefined) {
    slow(received);
    return;
  }
  write(stream, request.kind === "grpc", reply);
  const { log } = fast;
  if (log === undefined) return;
  const remoteAddress = stream.session?.socket.remoteAddress;
  stream.once("close", () => log({ request, received, reply, http: "2.0", remoteAddress }, stream.rstCode !== 0));
}

function write(stream: ServerHttp2Stream, grpc: boolean, { status, headers, body }: FastReply): void {
  headers[":status"] = status;
  if (grpc) stream.on("wantTrailers", sendStatus);
  stream.respond(headers, { waitForTrailers: grpc, endStream: body === undefined });
  if (body !== undefined) stream.end(body);
}

function sendStatus(this: ServerHttp2Stream): void {
  this.sendTrailers(GRPC_OK);
}

function ignore(): void {}
