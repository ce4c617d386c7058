import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { FastPath, FastReply } from "./fast-path.ts";
import { NO_BODY, type Received } from "./fast-path-body.ts";

const GRPC_OK = { "grpc-status": "0" };

/**
 * Answers a request over HTTP/2 on the fast path, or has `slow` do it.
 *
 * @param slow - takes what was already read of the body
 */
export function answerFastHttp2(
  fast: FastPath,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: readonly string[],
  slow: (received?: Received) => void,
): void {
  const request = fast.read(headers[":method"], headers[":path"], headers[":authority"], headers, rawHeaders);
  const bodyless = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  if (request === undefined || (request.kind === "get" && !bodyless)) {
    slow();
    return;
  }

  const answer = (received: Received) => {
    if (stream.destroyed) return; // writing to a caller who is gone throws
    const reply = fast.reply(request, received);
    if (reply === undefined) return slow(received);
    write(stream, request.kind === "grpc", reply);
    const { log } = fast;
    if (log === undefined) return;
    const remoteAddress = stream.session?.socket.remoteAddress;
    stream.once("close", () => log({ request, received, reply, http: "2.0", remoteAddress }, stream.rstCode !== 0));
  };
  stream.on("error", ignore); // a reset by the peer
  if (request.kind === "get") answer(NO_BODY);
  else fast.readBody(stream, request.timeoutMs, answer);
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
