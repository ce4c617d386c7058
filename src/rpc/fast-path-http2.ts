import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { FastPath, FastReply } from "./fast-path.ts";
import { NO_BODY, type Received } from "./fast-path-body.ts";
import type { FastRequest, RequestHead } from "./fast-path-request.ts";

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
  const head: RequestHead = {
    method: headers[":method"] ?? "",
    url: headers[":path"] ?? "",
    authority: headers[":authority"] ?? "",
    headers,
    rawHeaders,
  };
  const request = fast.read(head);
  const bodyless = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  if (request === undefined || (request.kind === "get" && !bodyless)) {
    slow();
    return;
  }

  const answer = (received: Received) => {
    if (stream.destroyed) return; // writing to a caller who is gone throws
    const reply = fast.reply(request, head, received);
    if (reply === undefined) return slow(received);
    write(stream, request, reply);
    fast.log(request, "2.0", stream.session?.socket.remoteAddress, reply, received, (done) =>
      stream.once("close", () => done(stream.rstCode !== 0)),
    );
  };
  stream.on("error", ignore); // a reset by the peer
  if (request.kind === "get") answer(NO_BODY);
  else fast.readBody(stream, request.timeoutMs, answer);
}

function write(stream: ServerHttp2Stream, { kind }: FastRequest, { status, headers, body }: FastReply): void {
  const grpc = kind === "grpc";
  if (grpc) stream.once("wantTrailers", () => stream.sendTrailers(GRPC_OK));
  stream.respond({ ":status": status, ...headers }, { waitForTrailers: grpc, endStream: body === undefined });
  if (body !== undefined) stream.end(body);
}

function ignore(): void {}
