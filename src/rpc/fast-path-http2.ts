import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { FastPath, FastReply, ReplyTaker } from "./fast-path.ts";
import { type BodyTaker, NO_BODY, type Received } from "./fast-path-body.ts";
import type { FastRequest } from "./fast-path-request.ts";
import { isGone } from "./fast-stream.ts";

const GRPC_OK = { "grpc-status": "0" };

/** A request over HTTP/2, and what becomes of it off the fast path. */
export type Http2Call = {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  /** Has connect answer. Takes what was already read of the body. */
  slow(received?: Received): void;
  /** To be called if the answer is a stream that lasts. */
  lasts(): void;
};

/** Answers a request on the fast path, or has its `slow` do it. */
export function answerFastHttp2(fast: FastPath, call: Http2Call, flags: number): void {
  const { stream, headers } = call;
  const request = fast.read(headers[":method"], headers[":path"], headers[":authority"], headers, call.rawHeaders);
  const bodyless = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
  if (request === undefined || (request.kind === "get" && !bodyless)) {
    call.slow();
    return;
  }

  stream.on("error", ignore); // a reset by the peer
  const answer = new FastAnswer(fast, call, request);
  if (request.kind === "stream") fast.readStreamBody(stream, request.timeoutMs, answer);
  else if (bodyless) answer.take(NO_BODY);
  else fast.readBody(stream, request.timeoutMs, answer);
}

class FastAnswer implements BodyTaker, ReplyTaker {
  readonly #fast: FastPath;
  readonly #call: Http2Call;
  readonly #request: FastRequest;

  constructor(fast: FastPath, call: Http2Call, request: FastRequest) {
    this.#fast = fast;
    this.#call = call;
    this.#request = request;
  }

  take(received: Received): void {
    const call = this.#call;
    const request = this.#request;
    const { stream } = call;
    if (isGone(stream)) return;
    if (request.kind === "stream") {
      if (this.#fast.stream(request, received, stream)) call.lasts();
      else call.slow(received);
      return;
    }
    this.#fast.reply(request, received, this);
  }

  takeReply(reply: FastReply | undefined, received: Received): void {
    const call = this.#call;
    const request = this.#request;
    const { stream } = call;
    if (isGone(stream)) return;
    if (reply === undefined) {
      call.slow(received);
      return;
    }
    write(stream, request.kind === "grpc", reply);
    const { log } = this.#fast;
    if (log === undefined) return;
    const remoteAddress = stream.session?.socket.remoteAddress;
    stream.once("close", () => log({ request, received, reply, http: "2.0", remoteAddress }, stream.rstCode !== 0));
  }
}

function write(stream: ServerHttp2Stream, grpc: boolean, { status, headers, body }: FastReply): void {
  if (grpc) stream.on("wantTrailers", sendStatus);
  const head = status === 200 ? headers : { ...headers, ":status": status };
  stream.respond(head, { waitForTrailers: grpc, endStream: body === undefined });
  if (body !== undefined) stream.end(body);
}

function sendStatus(this: ServerHttp2Stream): void {
  this.sendTrailers(GRPC_OK);
}

function ignore(): void {}
