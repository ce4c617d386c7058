import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { type BodyTaker, NO_BODY, type Received } from "../http/small-body.ts";
import type { FastPath } from "./fast-path.ts";
import { type FastReply, GRPC_OK, type Outlet } from "./fast-reply.ts";
import type { FastHead } from "./fast-request.ts";
import { isGone } from "./fast-stream.ts";

/** A request over HTTP/2, and what becomes of it off the fast path. */
export type Http2Call = {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
  /** Has connect answer. Takes what was already read of the body. */
  slow(received?: Received): void;
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
  if (bodyless && request.kind !== "stream") answer.take(NO_BODY);
  else fast.readBody(stream, request.timeoutMs, answer);
}

class FastAnswer implements BodyTaker, Outlet {
  readonly http = "2.0";
  readonly #fast: FastPath;
  readonly #call: Http2Call;
  readonly #request: FastHead;

  constructor(fast: FastPath, call: Http2Call, request: FastHead) {
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
      if (!this.#fast.stream(request, received, stream)) call.slow(received);
      return;
    }
    this.#fast.answer(request, received, this);
  }

  get remoteAddress(): string | undefined {
    return this.#call.stream.session?.socket.remoteAddress;
  }

  get encrypted(): boolean {
    return this.#call.stream.session?.encrypted === true;
  }

  get isGone(): boolean {
    return isGone(this.#call.stream);
  }

  slow(received: Received): void {
    if (!this.isGone) this.#call.slow(received);
  }

  write({ status, headers, body, trailers }: FastReply): void {
    if (this.isGone) return;
    const { stream } = this.#call;
    if (trailers === GRPC_OK) stream.on("wantTrailers", sendOk);
    else if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    const isHeadOnly = body === undefined && trailers === undefined;
    stream.respond(headerList(status, headers), { waitForTrailers: trailers !== undefined, endStream: isHeadOnly });
    if (!isHeadOnly) stream.end(body);
  }

  whenClosed(closed: (cut: boolean) => void): void {
    const { stream } = this.#call;
    stream.once("close", () => closed(stream.rstCode !== 0));
  }
}

/** Names and values in turn, which Node's HTTP/2 writes in less time than an object: it goes through that several times. */
function headerList(status: number, headers: OutgoingHttpHeaders): string[] {
  const list = [":status", `${status}`];
  for (const name in headers) {
    const value = headers[name];
    if (Array.isArray(value)) for (const one of value) list.push(name, one);
    else if (value !== undefined) list.push(name, `${value}`);
  }
  return list;
}

function sendOk(this: ServerHttp2Stream): void {
  this.sendTrailers(GRPC_OK);
}

function ignore(): void {}
